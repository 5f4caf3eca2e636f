"""The log can't be opened: say why, and offer what can be done about it."""

from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from assistant.errors import DatabaseDamaged, DatabaseTooNew, StoreError
from assistant.safe_text import printable
from assistant.tui.dialogs.dialog import Dialog

Way = Literal["recover", "fresh", "retry", "quit"]
WAYS: dict[Way, str] = {
    "recover": "Recover what can be read into a new log",
    "fresh": "Start with an empty log",
    "retry": "Try again",
    "quit": "Quit",
}


class RecoveryScreen(Dialog[Way]):
    """The result is the way to go on. Whatever is chosen, the old file stays."""

    def __init__(self, error: StoreError) -> None:
        super().__init__()
        self._error = error
        self._ways = ways_out(error)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("The log can't be opened", classes="heading")
            yield Static(printable(str(self._error)), markup=False)
            if isinstance(self._error, DatabaseDamaged):
                yield Static(
                    "\nThe damaged file is kept under a new name beside it, never overwritten.", classes="quiet"
                )
            yield OptionList(*(Option(WAYS[way], id=way) for way in self._ways))

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._ways[event.option_index])

    def action_dismiss_none(self) -> None:
        self.dismiss("quit")


def ways_out(error: StoreError) -> list[Way]:
    """What can be done about `error`."""
    if isinstance(error, DatabaseDamaged):
        return ["recover", "fresh", "quit"]
    return ["quit"] if isinstance(error, DatabaseTooNew) else ["retry", "quit"]
