"""The side list, wired to the logs: open, rename, pin, delete and bring back."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message

from assistant.safe_text import printable
from assistant.tui.chat.conversation_list import ConversationList, ConversationRow
from assistant.tui.chat.side_panel import SidePanel
from assistant.tui.clock import Now
from assistant.tui.told_errors import TellsErrors

if TYPE_CHECKING:
    from assistant.tui.logs import Logs
    from assistant.tui.replies import Key


class ConversationsView(TellsErrors, SidePanel):
    """All conversations of both logs. Empty until `attach`."""

    @dataclass
    class Removed(Message):
        """A conversation was deleted."""

        key: "Key"

    class Changed(Message):
        """A title may be another now, or a deleted conversation is back."""

    def __init__(self, *, now: Now, id: str | None = None) -> None:  # noqa: A002
        super().__init__(now=now, id=id)
        self._logs: Logs | None = None
        self._deleted: list[ConversationRow] = []

    def attach(self, logs: "Logs") -> None:
        """The logs are open."""
        self._logs = logs

    @property
    def logs(self) -> "Logs":
        assert self._logs is not None
        return self._logs

    @on(SidePanel.SearchChanged)
    def refresh_rows(self) -> None:
        """Show the conversations as the logs have them."""
        if self._logs is not None:
            page = partial(self._logs.page, search=self.search)
            self.conversations.show(self._logs.count(self.search), page)

    @on(ConversationList.ActionWanted)
    def _act_on_row(self, event: ConversationList.ActionWanted) -> None:
        event.stop()
        self.act(event.action, event.row)

    def act(self, action: str, row: ConversationRow) -> None:
        """Do `action` (rename, pin, delete, or more: ask which) to a conversation."""
        match action:
            case "rename":
                self.rename(row)
            case "pin":
                self._pin(row)
            case "delete":
                self._delete(row)
            case "more":
                self._offer_actions(row)

    def _offer_actions(self, row: ConversationRow) -> None:
        from assistant.tui.dialogs.pick import Choice, PickScreen

        def chosen(action: str | None) -> None:
            if action is not None:
                self.act(action, row)

        pin = "Unpin" if row.pinned else "Pin"
        choices = [Choice("rename", "Rename"), Choice("pin", pin), Choice("delete", "Delete")]
        self.app.push_screen(PickScreen(printable(row.title, newlines=False) or "Untitled", choices), chosen)

    def rename(self, row: ConversationRow) -> None:
        """Ask for another title."""
        from assistant.store import conversations
        from assistant.tui.chat.rename import RenameScreen

        def named(title: str | None) -> None:
            if title is not None:
                conversations.rename(self.logs.log(private=row.private).db, row.id, title)
                self.post_message(self.Changed())

        self.app.push_screen(RenameScreen(row.title), named)

    def _pin(self, row: ConversationRow) -> None:
        from assistant.store import conversations

        conversations.pin(self.logs.log(private=row.private).db, row.id, not row.pinned)
        self.refresh_rows()

    def _delete(self, row: ConversationRow) -> None:
        from assistant.store import conversations, learned

        db = self.logs.log(private=row.private).db
        if told := learned.from_conversations(db, [row.id]).sentence():
            self.notify(printable(told), markup=False)
        conversations.delete(db, row.id)
        self._deleted.append(row)
        self._offer_undo()
        self.post_message(self.Removed(row.key))

    def undo_delete(self) -> None:
        """Bring back the conversation that was deleted last."""
        from assistant.store import conversations

        if self._deleted:
            row = self._deleted.pop()
            conversations.restore(self.logs.log(private=row.private).db, row.id)
            self._offer_undo()
            self.post_message(self.Changed())

    def _offer_undo(self) -> None:
        self.offer_undo((self._deleted[-1].title or "Untitled") if self._deleted else None)
