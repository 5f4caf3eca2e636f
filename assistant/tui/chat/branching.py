"""The versions of a message and the branches that they begin: stepped through, compared, forked."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message
from textual.widget import Widget

from assistant.tui.chat.open_path import OpenPath
from assistant.tui.chat.opened import Opened
from assistant.tui.judging.judging import Judging

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.tui.logs import Log


class Branching:
    """Opens other paths of the open conversation. `refresh` shows what the log holds then."""

    @dataclass
    class Forked(Message):
        """A conversation was forked from the open one."""

        conversation_id: int

    def __init__(self, widget: Widget, opened: Opened, path: OpenPath, refresh: Callable[[], Awaitable[None]]) -> None:
        self._widget = widget
        self._opened = opened
        self._path = path
        self._refresh = refresh

    async def open_sibling(self, message_id: int, step: int) -> None:
        """Open the branch of the version before or after a message."""
        log, visit = self._opened.log, self._opened.visit
        if log is None:
            return
        version = await log.worker.act(lambda db: _open_sibling(db, log, message_id, step))
        if version is None or visit is not self._opened.visit:
            return
        await self._refresh()
        if self._path.transcript.has_focus:
            self._path.transcript.select(version)

    async def open_path(self, message_id: int) -> None:
        """Open the path through a message, as far as it went last, and select the message."""
        log, visit = self._opened.log, self._opened.visit
        if log is None or self._opened.conversation_id is None:
            return
        if message_id not in self._path:
            await log.worker.act(lambda db: open_branch(db, log, message_id))
        await self._refresh()
        if visit is self._opened.visit and message_id in self._path:
            self._path.transcript.focus()
            self._path.transcript.select(message_id)

    async def fork(self, message_id: int) -> None:
        """Make a new conversation that holds what led to a message."""
        from assistant.store import forking

        if (log := self._opened.log) is not None:
            self._widget.post_message(self.Forked(await log.worker.act(lambda db: forking.fork(db, message_id))))

    async def compare(self, judging: Judging, message_id: int) -> None:
        """Compare a reply with another version, and open the path through the better."""
        from assistant.tui.judging.comparing import compare_versions

        await compare_versions(self._widget, judging, message_id, self.open_path)


def _open_sibling(db: "Database", log: "Log", message_id: int, step: int) -> int | None:
    from assistant.store import messages

    versions = messages.siblings(db, message_id)
    at = versions.index(message_id) + step
    if not 0 <= at < len(versions):
        return None
    open_branch(db, log, versions[at])
    return versions[at]


def open_branch(db: "Database", log: "Log", message_id: int) -> None:
    """Open the newest path through a message; it goes on with what made its last reply."""
    from assistant.store import messages

    conversation_id = messages.get(db, message_id).conversation_id
    messages.open_leaf(db, conversation_id, messages.newest_leaf(db, message_id))
    log.follow_branch(db, conversation_id)
