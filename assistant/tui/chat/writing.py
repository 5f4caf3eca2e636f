"""What is typed: the draft of each conversation, an edit of an earlier message, what was sent last."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from textual.timer import Timer
from textual.widget import Widget

from assistant.tui.background import in_background
from assistant.tui.chat.composer import Composer
from assistant.tui.chat.opened import Opened

if TYPE_CHECKING:
    from assistant.tui.widgets.message import MessageView

DRAFT_AFTER_S = 0.5
"""What is typed is kept when no key was pressed for this long."""
EDITING = "edit · the original stays as another version"


class Writing:
    """The composer's text, kept in the log until it is sent."""

    def __init__(self, widget: Widget, composer: Composer, opened: Opened) -> None:
        self._widget = widget
        self._composer = composer
        self._opened = opened
        self._edited: int | None = None
        """The message that is being edited."""
        self._put_aside = ""
        """The draft that was in the composer before an edit."""
        self._unsent = ""
        """What was sent last, until it is stored."""
        self._draft_timer: Timer | None = None

    @property
    def is_edit(self) -> bool:
        return self._edited is not None

    def fill(self, text: str) -> None:
        """Put a text into the composer, the cursor at its end."""
        self._composer.load_text(text)
        self._composer.move_cursor(self._composer.document.end)

    # --- sending

    def take(self, text: str) -> int | None:
        """Take `text` out of the composer to send it. The message that it is an edit of, None for none."""
        self._unsent = text
        edited = self._edited
        if edited is not None:
            self.end_edit()
        else:
            self._composer.clear()
            self.keep_draft()
        return edited

    def is_stored(self) -> None:
        """What was sent last is in the log."""
        self._unsent = ""

    def take_back(self) -> None:
        """Put what could not be sent into the composer again."""
        unsent, self._unsent = self._unsent, ""
        if not self._composer.text:
            self.fill(unsent)

    # --- drafts

    def stored_draft(self) -> Awaitable[str]:
        """The draft of the open conversation as the log has it at this moment, whatever is typed until it is read."""
        from assistant.store import conversations

        log, visit = self._opened.log, self._opened.visit
        assert log is not None
        return log.worker.act(lambda db: conversations.get_draft(db, visit.conversation_id))

    def keep_draft_soon(self) -> None:
        """Store what is typed when no key was pressed for a moment."""
        if self._draft_timer is not None:
            self._draft_timer.stop()
        self._draft_timer = self._widget.set_timer(DRAFT_AFTER_S, self.keep_draft)

    def keep_draft(self) -> None:
        """Store what is typed but not sent."""
        from assistant.store import conversations

        if self._draft_timer is not None:
            self._draft_timer.stop()
            self._draft_timer = None
        log, visit = self._opened.log, self._opened.visit
        if log is not None:
            text = self._put_aside if self.is_edit else self._composer.text
            kept = log.worker.act(lambda db: conversations.set_draft(db, visit.conversation_id, text))
            in_background(self._widget, lambda: kept)

    def keep_at_end(self) -> None:
        """Store what is typed, and what was sent and is not stored yet: the window is being closed."""
        if self._unsent and not self._composer.text:
            self.take_back()
        self.keep_draft()

    # --- an edit

    def edit(self, said: "MessageView") -> None:
        """Put a message of the person into the composer."""
        if self._edited is None:
            self._put_aside = self._composer.text
        self._edited = said.id
        self.fill(said.text)
        self._composer.border_title = EDITING
        self._composer.focus()
        self._widget.refresh_bindings()

    def end_edit(self) -> None:
        """Bring back the draft that was there before the edit."""
        if self._edited is None:
            return
        self._edited = None
        self._composer.border_title = None
        self.fill(self._put_aside)
        self._put_aside = ""
        self._widget.refresh_bindings()
