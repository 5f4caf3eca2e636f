"""The lines that a person types before they are sent."""

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from assistant.safe_text import printable


class Composer(TextArea):
    """A text area that grows with its text up to a third of the screen. Enter sends; Ctrl+J makes a new line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send", id="composer.send", priority=False),
        Binding("ctrl+j,shift+enter,alt+enter", "newline", "New line", id="composer.newline", key_display="^j"),
    ]
    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 3;
        max-height: 33vh;
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
        super().__init__(text, placeholder=placeholder, id=id, soft_wrap=True, show_line_numbers=False)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.prevent_default()
        elif event.key == "up" and not self.text:
            event.prevent_default().stop()
            self.post_message(self.LeaveUp())
        elif event.character == "/" and not self.text:
            event.prevent_default().stop()
            self.post_message(self.SlashTyped())

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default().stop()
        self._replace_via_keyboard(printable(event.text), *self.selection)

    def action_submit(self) -> None:
        if self.text.strip():
            self.post_message(self.Submitted(self.text))

    def action_newline(self) -> None:
        self._replace_via_keyboard("\n", *self.selection)
