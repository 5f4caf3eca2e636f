"""The lines that a person types before they are sent."""

import re
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from assistant.safe_text import printable

_FOLDED_CHARACTERS = 20_000
"""A longer paste is shown as one mark, such as `[pasted 20,000 lines #1]`. Textual wraps the whole line that is edited,
and all lines of a paste twice: 1 MB takes 1 s to arrive, and 0.6 s for each key typed into it when it is one line."""


class Composer(TextArea):
    """A text area that grows with its text up to a third of the screen. Enter sends; Ctrl+J makes a new line.

    `text` is all of the text: long pastes, which are shown as a mark, are in it whole.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send", id="composer.send"),
        Binding("ctrl+j,shift+enter,alt+enter", "newline", "New line", id="composer.newline", key_display="^j"),
    ]
    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 3;
        max-height: 33vh;
        padding: 0 1;
        border: round $foreground 30%;
        background: transparent;
        scrollbar-size-vertical: 1;
        &:focus { border: round $accent; }
        & .text-area--cursor-line { background: transparent; }
    }
    """

    @dataclass
    class Submitted(Message):
        """Enter was pressed on `text`, which is not blank. The composer still holds it: the screen clears it."""

        text: str

    class LeaveUp(Message):
        """Up was pressed in the empty composer."""

    class SlashTyped(Message):
        """`/` was typed into the empty composer. It is not inserted."""

    def __init__(self, text: str = "", *, placeholder: str = "", id: str | None = None) -> None:  # noqa: A002
        self._pasted: dict[str, str] = {}
        """Long pastes by the mark that stands for them. They are kept for undo until other text is loaded."""
        super().__init__(self._folded(text), placeholder=placeholder, id=id, soft_wrap=True, show_line_numbers=False)

    @property
    def text(self) -> str:
        """All of the text."""
        text = self.document.text
        if not self._pasted:
            return text
        marks = re.compile("|".join(map(re.escape, self._pasted)))
        return marks.sub(lambda mark: self._pasted[mark.group()], text)

    @text.setter
    def text(self, text: str) -> None:
        self.load_text(text)

    def load_text(self, text: str) -> None:
        """Replace the text, and forget what could be undone."""
        self._pasted.clear()
        super().load_text(self._folded(text))

    def _folded(self, text: str) -> str:
        """`text` without control characters, or the mark that stands for it where it is long."""
        text = printable(text)
        if len(text) <= _FOLDED_CHARACTERS:
            return text
        lines = text.count("\n") + 1
        size = f"{lines:,} lines" if lines > 1 else f"{len(text):,} characters"
        mark = f"[pasted {size} #{len(self._pasted) + 1}]"
        self._pasted[mark] = text
        return mark

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """Whether the key is text here. Textual knows no characters for + and -, which would be offered as keys."""
        return super().check_consume_key(key, character or {"plus": "+", "minus": "-"}.get(key))

    async def _on_key(self, event: events.Key) -> None:
        if not event.is_printable and self._act(event.key):
            event.prevent_default().stop()
        elif event.key == "up" and not self.text:
            event.prevent_default().stop()
            self.post_message(self.LeaveUp())
        elif event.character == "/" and not self.text:
            event.prevent_default().stop()
            self.post_message(self.SlashTyped())

    def _act(self, key: str) -> bool:
        """Send or begin a new line, where `key` is bound to that.

        Textual would run the binding after the keys that follow in the same read, and send them too.
        """
        active = self.screen.active_bindings.get(key)
        action = active.binding.action if active is not None and active.node is self else ""
        if action == "submit":
            self.action_submit()
        elif action == "newline":
            self.action_newline()
        return action in ("submit", "newline")

    async def _on_paste(self, event: events.Paste) -> None:
        """Insert what is pasted. Newlines in it never send."""
        event.prevent_default().stop()
        if result := self._replace_via_keyboard(self._folded(event.text), *self.selection):
            self.move_cursor(result.end_location)

    def action_submit(self) -> None:
        text = self.text
        if text.strip():
            self.post_message(self.Submitted(text))

    def action_newline(self) -> None:
        self._replace_via_keyboard("\n", *self.selection)

    def action_delete_left(self) -> None:
        """Delete one character, or the whole mark of a paste."""
        row, column = self.cursor_location
        before = self.document.get_line(row)[:column]
        mark = next((mark for mark in self._pasted if before.endswith(mark)), None)
        if mark is None or not self.selection.is_empty:
            super().action_delete_left()
        else:
            self._delete_via_keyboard((row, column - len(mark)), (row, column))
