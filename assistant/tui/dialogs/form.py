"""A short form: one line for each value, with what it means. Used for sampling and for the inputs of a template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid, Vertical, VerticalScroll
from textual.widgets import Input, Label, TextArea

from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.tui import keys
from assistant.tui.dialogs.dialog import Dialog
from prompts.errors import PromptError

T = TypeVar("T")
KEYS = "enter next field, then accept · ctrl+g accept · esc cancel"


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the form. An empty value stands for `default`, which is shown in its place."""

    name: str
    label: str
    hint: str = ""
    value: str = ""
    default: str = ""


class FormScreen(Dialog[T]):
    """Fields under a heading. Enter goes to the next field and accepts after the last; a problem is shown and stays."""

    BINDINGS: ClassVar[list[BindingType]] = keys.FORM
    CSS_PATH = "form.tcss"

    def __init__(
        self,
        heading: str,
        about: str,
        fields: Sequence[Field],
        read: Callable[[dict[str, str]], T],
        *,
        text: TextArea | None = None,
        hint: str = KEYS,
    ) -> None:
        """`read` makes the result of what was typed, by the names of the fields. It raises `AssistantError` or
        `PromptError` where a value won't do. `text`: a longer text to write, above the fields.
        """
        super().__init__()
        self._heading = heading
        self._about = about
        self._fields = fields
        self._read = read
        self._text = text
        self._hint = hint

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._heading, classes="heading", markup=False)
            if self._about:
                yield Label(printable(self._about), classes="quiet about", markup=False)
            if self._text is not None:
                yield self._text
            with VerticalScroll(can_focus=False), Grid():
                for field in self._fields:
                    yield Label(printable(field.label, newlines=False), markup=False)
                    yield Input(field.value, placeholder=field.default, id=f"field-{field.name}", select_on_focus=False)
                    yield Label(printable(field.hint, newlines=False), classes="quiet", markup=False)
            yield Label("", classes="problem", markup=False)
            yield Label(self._hint, classes="quiet keys", markup=False)

    def on_mount(self) -> None:
        self.query_one(".problem").display = False
        if self._text is not None:
            self._text.select_all()

    @on(Input.Submitted)
    def _next(self, event: Input.Submitted) -> None:
        inputs = list(self.query(Input))
        if event.input is inputs[-1]:
            self.action_accept()
        else:
            inputs[inputs.index(event.input) + 1].focus()

    def action_accept(self) -> None:
        typed = {field.name: self.query_one(f"#field-{field.name}", Input).value for field in self._fields}
        try:
            result = self._read(typed)
        except (AssistantError, PromptError) as error:
            problem = self.query_one(".problem", Label)
            problem.update(str(error))
            problem.display = True
        else:
            self.dismiss(result)
