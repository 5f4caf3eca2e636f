"""What the dialogs share: a panel in the middle of a dimmed screen, left with Escape."""

from typing import ClassVar, TypeVar

from textual.binding import BindingType
from textual.screen import ModalScreen

from assistant.tui import keys

T = TypeVar("T")


class Dialog(ModalScreen[T | None]):
    """A question. Its result is None where the reader left it with Escape."""

    BINDINGS: ClassVar[list[BindingType]] = keys.DIALOG

    def action_dismiss_none(self) -> None:
        self.dismiss(None)
