"""Choose among many by typing a few letters: models, templates, code blocks, actions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.fuzzy import Matcher
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from assistant.errors import AssistantError
from assistant.safe_text import cell_width, printable, shorten
from assistant.tui.dialogs.dialog import Dialog

WIDEST_TITLE_CELLS = 40


@dataclass(frozen=True, slots=True)
class Choice:
    """One line: `value` is the result, `title` is searched, `detail` stands quietly behind it."""

    value: str
    title: str
    detail: str = ""


class PickScreen(Dialog[str]):
    """The result is the value of the choice, or None."""

    DEFAULT_CSS = """
    PickScreen { align: center top; }
    PickScreen > .dialog { margin-top: 3; }
    """

    def __init__(
        self,
        heading: str,
        choices: Sequence[Choice],
        *,
        current: str = "",
        found: Callable[[Sequence[Choice], str], Sequence[Choice]] | None = None,
        placeholder: str = "type to filter",
        title_cells: int = 0,
    ) -> None:
        """`found`: the choices that are offered for what was typed; raises `AssistantError` where it won't do.
        `title_cells`: room for titles that `found` adds.
        """
        super().__init__()
        self._heading = heading
        self._choices = choices
        self._current = current
        self._found = found or matching
        self._placeholder = placeholder
        widest = max((cell_width(choice.title) for choice in choices), default=0)
        self._title_cells = max(min(widest, WIDEST_TITLE_CELLS), title_cells)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._heading, classes="heading", markup=False)
            yield Input(placeholder=self._placeholder, id="query")
            yield OptionList(id="choices")
            yield Label("", classes="problem", markup=False)

    def on_mount(self) -> None:
        self.query_one(".problem").display = False
        self._show(self._choices)
        values = [choice.value for choice in self._choices]
        if self._current in values:
            self._options.highlighted = values.index(self._current)

    @property
    def _options(self) -> OptionList:
        return self.query_one("#choices", OptionList)

    def _show(self, choices: Sequence[Choice]) -> None:
        self._options.clear_options()
        self._options.add_options([Option(self._line(choice), id=None) for choice in choices])
        self._shown = choices
        if choices:
            self._options.highlighted = 0

    def _line(self, choice: Choice) -> Content:
        return line_of(choice, self._title_cells, is_current=choice.value == self._current)

    @on(Input.Changed, "#query")
    def _filter(self, event: Input.Changed) -> None:
        problem = self.query_one(".problem", Label)
        try:
            found, wrong = self._found(self._choices, event.value), ""
        except AssistantError as error:
            found, wrong = (), str(error)
        problem.update(wrong)
        problem.display = bool(wrong)
        self._show(found)

    @on(Input.Submitted, "#query")
    def _take_highlighted(self) -> None:
        if self._options.highlighted is not None:
            self.dismiss(self._shown[self._options.highlighted].value)

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index].value)

    def on_key(self, event: events.Key) -> None:
        """The arrows move in the list while the letters go to the input."""
        moves = {"up": "cursor_up", "down": "cursor_down", "pageup": "page_up", "pagedown": "page_down"}
        if event.key in moves and self.query_one(Input).has_focus:
            event.stop()
            self.call_later(self._options.run_action, moves[event.key])


def line_of(choice: Choice, title_cells: int, *, is_current: bool = False) -> Content:
    """A mark at the current choice, the title in so many cells, and quietly the detail."""
    title = shorten(choice.title, title_cells)
    line = Content.styled("▌" if is_current else " ", "$accent") + title + " " * (title_cells - cell_width(title) + 2)
    return line + Content.styled(printable(choice.detail, newlines=False), "$foreground 60%")


def matching(choices: Sequence[Choice], query: str) -> Sequence[Choice]:
    """The choices that hold the letters of `query` in order, best first. The detail counts less than the title."""
    if not query.strip():
        return choices
    matcher = Matcher(query.strip())
    scored = [(max(matcher.match(c.title), matcher.match(c.detail) / 2), i) for i, c in enumerate(choices)]
    return [choices[i] for score, i in sorted(scored, key=lambda pair: (-pair[0], pair[1])) if score > 0]
