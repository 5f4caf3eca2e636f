"""What curating a reply asks for: a better text, a tag, a note."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Label, TextArea

from assistant.errors import AssistantError, StoreError
from assistant.safe_text import printable
from assistant.tui import keys
from assistant.tui.dialogs.dialog import Dialog
from assistant.tui.dialogs.pick import Choice, PickScreen, matching

NEW_TAG_CELLS = 24
"""Room for a new tag, where those there are are shorter."""


class TextDialog(Dialog[str]):
    """A text to write, of several lines. Ctrl+G saves it; a text that is refused stays, with the reason."""

    BINDINGS: ClassVar[list[BindingType]] = keys.FORM
    DEFAULT_CSS = """
    TextDialog .dialog { width: 100; }
    TextDialog TextArea, TextDialog TextArea:focus {
        height: auto;
        min-height: 4;
        max-height: 60vh;
        padding: 0 1;
        border: none;
        background: $panel;
        background-tint: $foreground 0%;
        scrollbar-size-vertical: 1;
    }
    TextDialog .text-area--cursor-line { background: $panel; }
    """

    def __init__(
        self, heading: str, about: str, text: str, checked: Callable[[str], str] = lambda text: text.strip()
    ) -> None:
        """`checked`: the text to keep; raises `AssistantError` where it won't do."""
        super().__init__()
        self._heading = heading
        self._about = about
        self._text = printable(text)
        self._checked = checked

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._heading, classes="heading", markup=False)
            yield TextArea(self._text, soft_wrap=True, show_line_numbers=False)
            yield Label("", classes="problem", markup=False)
            yield Label(f"ctrl+g save · esc cancel · {self._about}", classes="quiet keys", markup=False)

    def on_mount(self) -> None:
        self.query_one(".problem").display = False

    def action_accept(self) -> None:
        try:
            text = self._checked(self.query_one(TextArea).text)
        except AssistantError as error:
            problem = self.query_one(".problem", Label)
            problem.update(str(error))
            problem.display = True
        else:
            self.dismiss(text)


def correct_dialog(reply: str) -> TextDialog:
    """The result is what the reply should have said, or None."""

    def checked(text: str) -> str:
        if not text.strip():
            raise StoreError("A correction needs a text. Write what the reply should have said, or leave with esc.")
        if text == printable(reply):
            raise StoreError("Nothing is changed yet. Write what the reply should have said, or leave with esc.")
        return text

    return TextDialog("Correct the reply", "the reply stays as another version", reply, checked)


def note_dialog(note: str) -> TextDialog:
    """The result is the note, empty to take it away, or None."""
    return TextDialog("Note", "leave empty to delete the note", note)


def tag_dialog(on_it: Sequence[str], known: Mapping[str, int]) -> PickScreen:
    """The result is a tag to put on, or to take off where it is on, or None.

    `on_it`: the tags that the message has. `known`: all tags, with how many messages have each.
    """
    taken_off = [Choice(tag, f"#{tag}", "on the message · enter removes it") for tag in on_it]
    put_on = [Choice(tag, f"#{tag}", f"{count:,}") for tag, count in known.items() if tag not in on_it]
    choices = [*taken_off, *put_on]
    placeholder = "type an existing or a new tag"
    return PickScreen("Tag", choices, found=tags_found, placeholder=placeholder, title_cells=NEW_TAG_CELLS)


def tags_found(choices: Sequence[Choice], typed: str) -> Sequence[Choice]:
    """The tags that begin with what was typed, then that as a new tag, then those that hold its letters.

    Raises `StoreError` for what is no tag.
    """
    from assistant.store.judgements.curation import tag_name

    if not typed.strip(" #"):
        return choices
    name = tag_name(typed)
    found = matching(choices, name)
    begin = [choice for choice in found if choice.value.lower().startswith(name.lower())]
    begin.sort(key=lambda choice: choice.value != name)
    new = [] if name in (choice.value for choice in choices) else [Choice(name, f"#{name}", "a new tag")]
    return [*begin, *new, *(choice for choice in found if choice not in begin)]
