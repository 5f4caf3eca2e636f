"""Give a conversation another title."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Label

from assistant.tui.dialogs.dialog import Dialog


class RenameScreen(Dialog[str]):
    """The result is the new title, empty for the automatic one, or None."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("Rename the conversation", classes="heading")
            yield Input(self._title)
            yield Label("enter save · esc cancel · leave empty to use the next message", classes="quiet keys")

    @on(Input.Submitted)
    def _take(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)
