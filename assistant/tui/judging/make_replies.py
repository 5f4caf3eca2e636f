"""Two replies made one after another, out of sight: whoever is to compare them must not see which came first."""

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Label

from assistant.cli.output import counted
from assistant.safe_text import printable
from assistant.tui.background import in_background
from assistant.tui.dialogs.dialog import Dialog

if TYPE_CHECKING:
    from collections.abc import Callable

    from assistant.dialogue.exchange import Maker
    from assistant.tui.logs import Log
    from assistant.tui.replies import Begin, Replies, Reply

SHOWN_EVERY_S = 0.25


class MakeScreen(Dialog[tuple[int, int]]):
    """The result is the ids of both, or None where the reader left or one of them could not be made.

    `begin` makes a reply to the message that both answer. Each stays, whatever comes of the comparison.
    """

    DEFAULT_CSS = """
    MakeScreen { background: $background; }
    """

    def __init__(
        self,
        log: "Log",
        conversation_id: int,
        makers: "tuple[Maker, Maker]",
        begin: "Callable[[Maker], Begin]",
        replies: "Replies",
    ) -> None:
        super().__init__()
        self._log = log
        self._conversation_id = conversation_id
        self._makers = makers
        self._begin = begin
        self._replies = replies
        self._growing: Reply | None = None
        self._made: list[int] = []
        self._left = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("Two replies to compare", classes="heading")
            yield Label("", id="progress", markup=False)
            yield Label("esc stops · what is made stays as another version", classes="quiet keys")

    def on_mount(self) -> None:
        self.set_interval(SHOWN_EVERY_S, self._show_progress)
        in_background(self, self._make)

    def _show_progress(self) -> None:
        reply = self._growing
        if reply is not None:
            state = reply.state or counted(reply.growing.tokens, "token")
            line = f"Reply {len(self._made) + 1} of 2: {printable(state, newlines=False)}"
            self.query_one("#progress", Label).update(line)

    async def _make(self) -> None:
        for maker in self._makers:
            self._growing = reply = self._replies.start(self._log, self._conversation_id, self._begin(maker))
            await self._replies.ended(reply)
            if self._left:
                return
            if not await self._is_whole(reply):
                self.dismiss(None)
                return
            self._made.append(reply.message_id)
        first, second = self._made
        self.dismiss((first, second))

    async def _is_whole(self, reply: "Reply") -> bool:
        """Whether there is a text to compare; where not, the reader is told why."""
        from assistant.store import messages

        if not reply.message_id:  # refused before it began, and told already
            return False
        stored = await self._log.worker.ask(lambda db: messages.get(db, reply.message_id))
        if stored.state in ("complete", "cut") and stored.content.strip():
            return True
        told = stored.error or "One of the replies has no text, so there is nothing to compare."
        self.notify(printable(told), severity="error", markup=False)
        return False

    def action_dismiss_none(self) -> None:
        self._left = True
        in_background(self, self._stop)

    async def _stop(self) -> None:
        if self._growing is not None:
            await self._replies.stop(self._growing.key)
        self.dismiss(None)
