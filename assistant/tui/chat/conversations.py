"""The side list, wired to the logs: open, rename, pin, delete and bring back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message

from assistant.safe_text import printable
from assistant.tui.background import in_background
from assistant.tui.chat.conversation_list import ConversationList, ConversationRow, Key
from assistant.tui.chat.side_panel import SidePanel
from assistant.tui.clock import Now

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlite_utils import Database

    from assistant.tui.logs import Logs


class ConversationsView(SidePanel):
    """All conversations of both logs. Empty until `attach`."""

    @dataclass
    class Removed(Message):
        """A conversation was deleted."""

        key: Key

    class Changed(Message):
        """A title may be another now, or a deleted conversation is back."""

    def __init__(self, *, now: Now, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now = now
        self._logs: Logs | None = None
        self._undoable: list[ConversationRow] = []

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
            in_background(self, self._show_rows, "list", exclusive=True)

    async def _show_rows(self) -> None:
        rows = await self.logs.listing(self.search, self._now(), self.conversations.pages_in_sight)
        self.conversations.show(rows)

    @on(ConversationList.PageWanted)
    def _bring_page(self, event: ConversationList.PageWanted) -> None:
        async def bring() -> None:
            search = self.search
            rows = await self.logs.page(event.number, search)
            if search == self.search:
                self.conversations.put(event.number, rows)

        in_background(self, bring)

    def _change(self, row: ConversationRow, change: "Callable[[Database], object]", then: Message) -> None:
        """Change the log that the row is in, and post what follows."""

        async def work() -> None:
            await self.logs.log(private=row.private).worker.act(change)
            self.post_message(then)

        in_background(self, work)

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
                self._change(row, lambda db: conversations.rename(db, row.id, title), self.Changed())

        self.app.push_screen(RenameScreen(row.title), named)

    def _pin(self, row: ConversationRow) -> None:
        from assistant.store import conversations

        self._change(row, lambda db: conversations.pin(db, row.id, not row.pinned), self.Changed())

    def _delete(self, row: ConversationRow) -> None:
        async def delete() -> None:
            told = await self.logs.log(private=row.private).worker.act(lambda db: _deleted(db, row.id))
            if told:
                self.notify(printable(told), markup=False)
            self._undoable.append(row)
            self._offer_undo()
            self.post_message(self.Removed(row.key))

        in_background(self, delete)

    def undo_delete(self) -> None:
        """Bring back the conversation that was deleted last."""
        from assistant.store import conversations

        if self._undoable:
            row = self._undoable.pop()
            self._offer_undo()
            self._change(row, lambda db: conversations.restore(db, row.id), self.Changed())

    def _offer_undo(self) -> None:
        self.offer_undo((self._undoable[-1].title or "Untitled") if self._undoable else None)


def _deleted(db: "Database", conversation_id: int) -> str:
    """Delete a conversation; what was learned from it, in a sentence or empty."""
    from assistant.store import conversations
    from assistant.store.training import learned

    told = learned.from_conversations(db, [conversation_id]).sentence()
    conversations.delete(db, conversation_id)
    return told
