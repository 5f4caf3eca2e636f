"""The messages of one conversation as the log has them, with the reply that grows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical

from assistant.tui.clock import Now
from assistant.tui.told_errors import TellsErrors
from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from assistant.dialogue.exchange import Step
    from assistant.store.conversations import Conversation
    from assistant.tui.logs import Log
    from assistant.tui.replies import Key, Replies, Reply


@dataclass(frozen=True, slots=True)
class Setup:
    """What the replies of a conversation are made with."""

    model: str = ""
    template: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    adapter: str | None = None
    """Name of an adapter, empty for the base alone; None: what is in use for the model."""


class ShownConversation(TellsErrors, Vertical):
    """A transcript that follows the log: only what differs from what is shown is touched."""

    def __init__(self, *, now: Now, retry_key: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now = now
        self._retry_key = retry_key
        self.replies: Replies | None = None
        """The replies that grow, None until the logs are open."""
        self.open_log: Log | None = None
        """The log that the conversation is in."""
        self.conversation_id: int | None = None
        """None for a conversation that has not begun."""
        self.setup = Setup()
        """What a conversation that has not begun will be made with."""
        self.shown: list[MessageView] = []
        """The open path, oldest first."""
        self._streaming: int | None = None
        self._noticed = 0

    def compose(self) -> ComposeResult:
        yield Transcript(id="transcript")

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def target(self) -> MessageView | None:
        """The message that a key acts on: the selected one, or the last where none has the focus."""
        selected = self.transcript.selected if self.screen.focused is self.transcript else None
        return next((view for view in self.shown if view.id == selected), self.shown[-1] if self.shown else None)

    # --- which conversation

    @property
    def key(self) -> "Key | None":
        """What tells the open conversation from all others, None for one that has not begun."""
        if self.open_log is None or self.conversation_id is None:
            return None
        return self.open_log.private, self.conversation_id

    @property
    def conversation(self) -> "Conversation | None":
        """The row of the open conversation."""
        from assistant.store import conversations

        if self.open_log is None or self.conversation_id is None:
            return None
        return conversations.get(self.open_log.db, self.conversation_id)

    @property
    def current_setup(self) -> Setup:
        """What the next reply is made with."""
        conversation = self.conversation
        if conversation is None:
            return self.setup
        made = (conversation.model, conversation.template, conversation.inputs, conversation.sampling)
        return Setup(*made, conversation.adapter)

    @property
    def reply(self) -> "Reply | None":
        """The reply that grows in this conversation."""
        return None if self.replies is None or self.key is None else self.replies.of(self.key)

    @property
    def last_reply(self) -> MessageView | None:
        """The newest message of the model."""
        return next((view for view in reversed(self.shown) if view.role == "assistant"), None)

    def last_figures(self) -> list[str]:
        """Figures of the newest reply that has ended."""
        from assistant.store import messages
        from assistant.tui.views import figures_of_outcome

        view = self.last_reply
        if self.open_log is None or view is None or view.state == "growing":
            return []
        if not messages.was_generated(self.open_log.db, view.id):
            return []
        return figures_of_outcome(messages.reply_info(self.open_log.db, view.id).outcome)

    # --- what the log holds

    def refresh_messages(self) -> None:
        """Show what the log holds now."""
        views, shown = self._stored_views(), self.shown
        self.shown = views
        kept = 0
        while kept < min(len(views), len(shown)) and views[kept].id == shown[kept].id:
            kept += 1
        if not kept:
            self._streaming, self._noticed = None, 0
            kept = len(views) - sum(map(self._grows_here, views))
            self.transcript.show(views[:kept])
        else:
            self._show_changes(shown[:kept], views[:kept])
            if kept < len(shown):
                self.transcript.remove_from(shown[kept].id)
        for view in views[kept:]:
            if self._grows_here(view):
                self._stream(view)
            else:
                self.transcript.add(view)
        self.refresh_bindings()

    def _show_changes(self, before: list[MessageView], after: list[MessageView]) -> None:
        for old, new in zip(before, after, strict=True):
            if self._grows_here(new):
                self._stream(new)
            elif old != new:
                self.transcript.update(new)

    def _stream(self, view: MessageView) -> None:
        if view.id != self._streaming:
            self._streaming = view.id
            self.transcript.start_stream(view)

    def _stored_views(self) -> list[MessageView]:
        from assistant.store import curation, messages
        from assistant.tui.views import message_views

        conversation = self.conversation
        if self.open_log is None or conversation is None or conversation.leaf_id is None:
            return []
        path = messages.path_with_siblings(self.open_log.db, conversation.leaf_id)
        judged = curation.judgements_of(self.open_log.db, conversation.id)
        views = message_views(path, self._now(), retry_key=self._retry_key, judgements=judged)
        if (reply := self.reply) is not None:  # the log is half a second behind
            return [replace(view, text=reply.text) if self._grows_here(view) else view for view in views]
        return views

    def _grows_here(self, view: MessageView) -> bool:
        """Whether the message is a reply that this window is writing."""
        reply = self.reply
        return reply is not None and reply.message_id == view.id

    # --- the reply that grows

    async def show_step(self, reply: "Reply", step: "Step") -> None:
        """Show a step of the reply that grows in this conversation."""
        from assistant.dialogue.exchange import ReplyEnded, ReplyStarted
        from assistant.events import Prefilled, Token

        match step:
            case ReplyStarted():
                self.show_start(step.message_id)
            case Prefilled() if step.dropped_messages not in (0, self._noticed):
                self._notice_left_out(step.dropped_messages)
            case Token():
                await self.transcript.append(reply.message_id, step.text)
            case ReplyEnded():
                await self._show_end(step.message_id)

    def show_start(self, message_id: int) -> None:
        """Show a reply that has begun, and go to it."""
        follow_selection = self.transcript.has_focus
        self.refresh_messages()
        if follow_selection:
            self.transcript.select(message_id)
        self.transcript.follow()

    def _notice_left_out(self, messages: int) -> None:
        from assistant.tui.views import left_out

        self._noticed = messages
        self.transcript.notice(left_out(messages))

    async def _show_end(self, message_id: int) -> None:
        self._streaming = None
        ended = next((view for view in self._stored_views() if view.id == message_id), None)
        if ended is not None:
            await self.transcript.end_stream(ended)
            self.shown = [ended if view.id == message_id else view for view in self.shown]
        self.refresh_bindings()
