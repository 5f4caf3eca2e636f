"""One conversation: its messages, the composer below them, and what can be done to a message."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import TextArea

from assistant.errors import AssistantError
from assistant.tui import keys
from assistant.tui.background import InOrder, in_background
from assistant.tui.chat.branching import Branching
from assistant.tui.chat.composer import Composer
from assistant.tui.chat.open_path import OpenPath
from assistant.tui.chat.opened import Opened, Setup, Visit
from assistant.tui.chat.writing import Writing
from assistant.tui.clock import Now
from assistant.tui.judging.judging import Judging
from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.dialogue.exchange import Dialogue, Step
    from assistant.store.conversations import Conversation
    from assistant.store.judgements.curation import Decision
    from assistant.tui.logs import Log
    from assistant.tui.replies import Replies, Reply

PLACEHOLDER = "Type a message · / for templates"
BUSY = "A reply is still being written. Press Esc to stop it."
JUDGING = ("rate", "decide", "tag", "note", "teach")
"""Leave the open path as it is, so that they work while a reply grows."""
CHANGING = ("correct", "undo", "redo")
"""May open another path."""
WHILE_IT_GROWS = ("copy", "copy_code", "fold", *JUDGING)
BRANCHING = ("sibling", "compare", "compare_makers", "fork")
ON_A_MESSAGE = ("regenerate", "edit", "continue_reply", "tokens", *WHILE_IT_GROWS, *CHANGING, *BRANCHING)


class ConversationView(Vertical):
    """The open conversation, or one that has not begun. It holds what judges its messages and opens its branches."""

    BINDINGS: ClassVar[list[BindingType]] = keys.MESSAGE

    class Changed(Message):
        """What the log holds was read again: title, figures, messages may be others now."""

    class Begun(Message):
        """The conversation has got its row."""

    class ModelWanted(Message):
        """Something was sent, but no model is chosen."""

    @dataclass
    class TokensWanted(Message):
        """The reader wants to see the tokens of a reply."""

        log: "Log"
        message_id: int

    @dataclass
    class MakersWanted(Message):
        """Two new replies in place of `message_id` are to be made and compared."""

        message_id: int

    def __init__(self, *, now: Now, retry_key: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now = now
        self._retry_key = retry_key
        self.replies: Replies | None = None
        """The replies that grow, None until the logs are open."""
        self.transcript = Transcript(id="transcript")
        self.composer = Composer(placeholder=PLACEHOLDER, id="composer")
        self.opened = Opened(self)
        self.path = OpenPath(self.transcript)
        self.writing = Writing(self, self.composer, self.opened)
        self.judging = Judging(self, lambda: self.opened.log.worker if self.opened.log is not None else None)
        self.branching = Branching(self, self.opened, self.path, self.refresh_messages)
        self._in_order = InOrder(self)
        self._sending: object = None
        """The visit in which something was sent that has no reply yet."""
        self._sent_early = False
        """Enter was pressed before any log was open."""

    def compose(self) -> ComposeResult:
        yield self.transcript
        yield self.composer

    @property
    def shown(self) -> list[MessageView]:
        """The open path, oldest first."""
        return self.path.shown

    @property
    def target(self) -> MessageView | None:
        """The message that a key acts on."""
        return self.path.target

    @property
    def reply(self) -> "Reply | None":
        """The reply that grows in this conversation."""
        key = self.opened.key
        return None if self.replies is None or key is None else self.replies.of(key)

    def open(self, log: "Log", conversation_id: int | None, setup: Setup, *, select: int | None = None) -> None:
        """Show a conversation of `log`, or with None one that has not begun. What was typed in the one before is kept.

        Keys that were pressed before any log was open stay in the composer, and an enter among them sends it now.
        `select`: a message to go to. A conversation that was deleted in another window gives way to a new one.
        """
        if self.opened.log is not None:
            self.writing.end_edit()
            self.writing.keep_draft()
            self.composer.load_text("")
        self.path.forget()
        self.set_class(log.private, "private")
        self.opened.open(log, conversation_id, setup)
        visit, stored = self.opened.visit, self.writing.stored_draft()

        async def show() -> None:
            try:
                await self.refresh_messages()
            except AssistantError:
                if visit is self.opened.visit:
                    self.open(log, None, setup)
                return
            draft = await stored
            if draft and visit is self.opened.visit:
                self.writing.fill(draft + self.composer.text)
            if select is not None and select in self.path:
                self.transcript.select(select)
                self.transcript.focus()
            if self._sent_early:
                self._sent_early = False
                self.composer.action_submit()

        in_background(self, show)

    async def refresh_messages(self) -> None:
        """Show what the log holds now."""
        if await self.opened.read(self._now(), self._retry_key):
            self.path.show(self.opened.held.messages, self.reply)
            self.refresh_bindings()
            self.post_message(self.Changed())

    @on(Opened.Configured)
    def refresh_soon(self) -> None:
        """Show what the log holds, in the background."""
        in_background(self, self.refresh_messages, "messages", exclusive=True)

    # --- sending

    @on(Composer.Submitted)
    def _submitted(self, event: Composer.Submitted) -> None:
        event.stop()
        log = self.opened.log
        if log is None:
            self._sent_early = True
        elif self.reply is not None or self._sending is self.opened.visit:
            self.notify(BUSY)
        elif not self.opened.setup.model:
            self.post_message(self.ModelWanted())
        elif (edited := self.writing.take(event.text)) is not None:
            self._start(lambda dialogue: dialogue.edit(edited, event.text))
        else:
            self._sending = self.opened.visit
            in_background(self, partial(self._send, log, event.text))

    async def _send(self, log: "Log", text: str) -> None:
        visit, setup, begins = self.opened.visit, self.opened.setup, self.opened.conversation_id is None
        try:
            conversation = await log.worker.act(lambda db: _row(db, visit, setup))
        except AssistantError:
            self.writing.take_back()
            raise
        finally:
            self._sending = None
        if begins and visit is self.opened.visit:
            self.post_message(self.Begun())
        at = conversation.id, conversation.leaf_id
        assert self.replies is not None
        self.replies.start(log, at[0], lambda dialogue: dialogue.send(at[0], text, parent_id=at[1]))
        self.post_message(self.Changed())
        self.refresh_bindings()

    def _start(self, begin: "Callable[[Dialogue], AsyncGenerator[Step, None]]", *, before: str = "") -> None:
        log, conversation_id = self.opened.log, self.opened.conversation_id
        assert self.replies is not None and log is not None and conversation_id is not None
        self.replies.start(log, conversation_id, begin, before=before)
        self.post_message(self.Changed())
        self.refresh_bindings()

    async def show_step(self, reply: "Reply", step: "Step") -> None:
        """Show a step of the reply that grows in this conversation."""
        from assistant.dialogue.exchange import ReplyEnded, ReplyStarted
        from assistant.events import Prefilled, Token

        match step:
            case ReplyStarted():
                self.writing.is_stored()
                follow_selection = self.transcript.has_focus
                await self.refresh_messages()
                if follow_selection and step.message_id in self.path:
                    self.transcript.select(step.message_id)
                self.transcript.follow()
            case Prefilled():
                self.path.tell_left_out(step.dropped_messages)
            case Token():
                await self.transcript.append(reply.message_id, step.text)
            case ReplyEnded():
                if await self.opened.read(self._now(), self._retry_key):
                    ended = (view for view in self.opened.held.messages if view.id == step.message_id)
                    await self.path.end(next(ended, None))
                self.refresh_bindings()

    @on(TextArea.Changed)
    def _typed(self) -> None:
        self.writing.keep_draft_soon()

    # --- actions on a message: the selected one, or the last where none is

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if action == "leave_edit":
            return self.writing.is_edit
        return action not in ON_A_MESSAGE or self._can(action)

    def _can(self, action: str) -> bool:
        """Whether an action on the selected message makes sense now."""
        view = self.target
        if view is None or (self.reply is not None and action not in WHILE_IT_GROWS):
            return False
        match action:
            case "edit":
                return view.role == "user" or self.screen.focused is not self.transcript
            case "teach":
                return "correction" in view.marks
            case "rate" | "decide" | "correct":
                return view.role == "assistant" and view.state != "growing"
            case "continue_reply":
                return view.state in ("cut", "stopped", "interrupted") and view is self.shown[-1]
            case "sibling":
                return view.siblings > 1
            case "compare":
                return view.role == "assistant" and view.siblings > 1
            case "copy_code":
                return view.role == "assistant" and bool(self.transcript.code_blocks(view.id))
            case "compare_makers" | "fold" | "tokens":
                return view.role == "assistant"
            case _:
                return True

    def action_regenerate(self) -> None:
        """Another reply in place of the selected one, or to the selected message."""
        view = self.target
        at = self.shown.index(view) + (view.role == "user") if view is not None else 0
        if view is not None and at < len(self.shown):
            reply_id = self.shown[at].id
            self._start(lambda dialogue: dialogue.regenerate(reply_id))

    def action_continue_reply(self) -> None:
        view = self.target
        if view is not None:
            self._start(lambda dialogue: dialogue.continue_reply(view.id), before=view.text)

    def action_edit(self) -> None:
        """Put the selected message of the person, or the last one where none is selected, into the composer."""
        view = self.target
        upto = self.shown[: self.shown.index(view) + 1] if view else []
        said = next((each for each in reversed(upto) if each.role == "user"), None)
        if said is not None:
            self.writing.edit(said)

    def action_leave_edit(self) -> None:
        self.writing.end_edit()

    async def action_copy(self) -> None:
        from assistant.tui.chat.copying import copy

        view = self.target
        if view is not None:
            await copy(self, self.transcript.answer(view.id), "the message")

    def action_copy_code(self) -> None:
        from assistant.tui.chat.copying import copy_block

        view = self.target
        if view is not None:
            copy_block(self, self.transcript.code_blocks(view.id))

    def action_fold(self) -> None:
        view = self.target
        if view is not None:
            self.transcript.toggle_reasoning(view.id)

    def action_tokens(self) -> None:
        view = self.target
        if self.opened.log is not None and view is not None:
            self.post_message(self.TokensWanted(self.opened.log, view.id))

    # --- versions and branches

    def action_sibling(self, step: int) -> None:
        async def open_sibling() -> None:
            view = self.target  # when it is its turn: the keys before may have opened another version
            if view is not None and self.reply is None:
                await self.branching.open_sibling(view.id, step)

        self._in_order.run(open_sibling)

    @on(Transcript.SiblingWanted)
    def _sibling_clicked(self, event: Transcript.SiblingWanted) -> None:
        if self.reply is None:
            self._in_order.run(lambda: self.branching.open_sibling(event.message_id, event.step))

    def go_to(self, message_id: int) -> None:
        """Open the path through a message, and select it."""
        self._in_order.run(lambda: self.branching.open_path(message_id))

    def action_fork(self) -> None:
        """A new conversation that holds what led to the selected message."""
        view = self.target
        if view is not None:
            in_background(self, lambda: self.branching.fork(view.id))

    def action_compare(self) -> None:
        view = self.target
        if view is not None:
            in_background(self, lambda: self.branching.compare(self.judging, view.id))

    def action_compare_makers(self) -> None:
        view = self.target
        if view is not None:
            self.post_message(self.MakersWanted(view.id))

    # --- judging

    def _judged(self) -> list[int]:
        view = self.target
        return [] if view is None else [view.id]

    def action_rate(self, rating: int) -> None:
        self.judging.rate(self._judged(), rating)

    def action_decide(self, decision: "Decision") -> None:
        self.judging.decide(self._judged(), decision)

    def action_tag(self) -> None:
        self.judging.tag(self._judged())

    def action_note(self) -> None:
        self.judging.note(self._judged())

    def action_correct(self) -> None:
        self.judging.correct(self._judged())

    def action_teach(self) -> None:
        if self.opened.is_private:
            self.post_message(Judging.Told("A private conversation isn't stored, so its corrections can't be learned."))
        else:
            self.judging.teach(self._judged())

    def action_undo(self) -> None:
        self.judging.undo()

    def action_redo(self) -> None:
        self.judging.redo()

    @on(Judging.Acted)
    def _acted(self) -> None:
        """Show the messages as they are now; the selection keeps its place where another version came there."""
        in_transcript, target = self.transcript.has_focus, self.target
        place = self.shown.index(target) if target is not None else 0

        async def show() -> None:
            await self.refresh_messages()
            if in_transcript:
                self.path.select_place(place)

        self._in_order.run(show)

    @on(Judging.Stepped)
    def _stepped(self, event: Judging.Stepped) -> None:
        self._acted()

        async def select() -> None:
            if self.transcript.has_focus and event.undone.message_id in [view.id for view in self.shown]:
                self.transcript.select(event.undone.message_id)

        self._in_order.run(select)

    # --- between transcript and composer

    @on(Composer.LeaveUp)
    def _to_transcript(self) -> None:
        if self.shown:
            self.transcript.focus()

    @on(Transcript.LeaveDown)
    def _to_composer(self) -> None:
        self.composer.focus()

    @on(Transcript.MessageSelected)
    def _selection_changed(self) -> None:
        self.refresh_bindings()


def _row(db: "Database", visit: Visit, setup: Setup) -> "Conversation":
    """The conversation to send to, begun where it has no row yet."""
    from assistant.store import conversations

    if visit.conversation_id is not None:
        return conversations.get(db, visit.conversation_id)
    begun = conversations.create(
        db,
        model=setup.model,
        template=setup.template,
        inputs=setup.inputs,
        sampling=setup.sampling,
        adapter=setup.adapter,
    )
    visit.conversation_id = begun.id
    return begun
