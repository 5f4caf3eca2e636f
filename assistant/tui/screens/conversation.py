"""One conversation: its messages and the composer, wired to the log and to the replies that grow."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TextArea

from assistant.tui import keys
from assistant.tui.clock import Now
from assistant.tui.widgets.composer import Composer
from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from assistant.dialogue import Step
    from assistant.store.conversations import Conversation
    from assistant.tui.logs import Log
    from assistant.tui.replies import Key, Replies, Reply

DRAFT_AFTER_S = 0.5
"""What is typed is kept when no key was pressed for this long."""
PLACEHOLDER = "Type a message · / for templates"


@dataclass(frozen=True, slots=True)
class Setup:
    """What the replies of a conversation are made with."""

    model: str = ""
    template: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)


class ConversationView(Vertical):
    """The open conversation, or one that has not begun. Shows what the log says; changes it through the dialogue."""

    BINDINGS: ClassVar[list[BindingType]] = keys.MESSAGE

    class Begun(Message):
        """The conversation has its first message, and with that its row."""

    class Changed(Message):
        """Its title, its figures or its state may be others now."""

    class ModelWanted(Message):
        """Something was sent, but no model is chosen."""

    def __init__(self, *, now: Now, retry_key: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now = now
        self._retry_key = retry_key
        self._replies: Replies | None = None
        self.open_log: Log | None = None
        """The log that it is in, None until the logs are open."""
        self.conversation_id: int | None = None
        self.setup = Setup()
        """What a conversation that has not begun will be made with."""
        self._shown: list[MessageView] = []
        self._streaming: int | None = None
        self._unsent = ""
        """What was sent last, until it is stored."""
        self._editing: int | None = None
        self._put_aside = ""
        """The draft that was in the composer before an edit."""
        self._draft_timer: Timer | None = None
        self._noticed = 0

    def compose(self) -> ComposeResult:
        yield Transcript(id="transcript")
        yield Composer(placeholder=PLACEHOLDER, id="composer")

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def composer(self) -> Composer:
        return self.query_one(Composer)

    # --- which conversation

    def attach(self, replies: "Replies") -> None:
        """The logs are open: messages can be sent from now on."""
        self._replies = replies

    def open(self, log: "Log", conversation_id: int | None, setup: Setup) -> None:
        """Show a conversation of `log`, or with None one that has not begun. What was typed in the one before is kept.

        Keys that were pressed before any log was open stay in the composer.
        """
        from assistant.store import conversations

        typed_early = self.composer.text if self.open_log is None else ""
        self.keep_draft()
        self._end_edit()
        self.open_log, self.conversation_id, self.setup = log, conversation_id, setup
        self._shown, self._noticed = [], 0
        self.composer.load_text(conversations.get_draft(log.db, conversation_id) + typed_early)
        self.composer.move_cursor(self.composer.document.end)
        self.set_class(log.private, "private")
        self.refresh_messages()
        self.refresh_bindings()

    @property
    def conversation(self) -> "Conversation | None":
        """The row of the open conversation."""
        from assistant.store import conversations

        if self.open_log is None or self.conversation_id is None:
            return None
        return conversations.get(self.open_log.db, self.conversation_id)

    @property
    def key(self) -> "Key | None":
        """What tells the open conversation from all others, None for one that has not begun."""
        if self.open_log is None or self.conversation_id is None:
            return None
        return self.open_log.private, self.conversation_id

    @property
    def reply(self) -> "Reply | None":
        """The reply that grows in this conversation."""
        return None if self._replies is None or self.key is None else self._replies.of(self.key)

    @property
    def last_reply(self) -> MessageView | None:
        """The newest message of the model."""
        return next((view for view in reversed(self._shown) if view.role == "assistant"), None)

    # --- what is shown

    def refresh_messages(self) -> None:
        """Show what the log holds, touching only what differs from what is shown."""
        views, shown = self._stored_views(), self._shown
        self._shown = views
        kept = 0
        while kept < min(len(views), len(shown)) and views[kept].id == shown[kept].id:
            kept += 1
        if not kept:
            self._streaming = None
            kept = len(views) - sum(map(self._grows_here, views))
            self.transcript.show(views[:kept])
        else:
            for old, new in zip(shown[:kept], views, strict=False):
                if old != new:
                    self._show_again(new)
            if kept < len(shown):
                self.transcript.remove_from(shown[kept].id)
        for view in views[kept:]:
            self._show_again(view, added=True)
        self.refresh_bindings()

    def _show_again(self, view: MessageView, *, added: bool = False) -> None:
        if not self._grows_here(view):
            self.transcript.add(view) if added else self.transcript.update(view)
        elif view.id != self._streaming:
            self._streaming = view.id
            self.transcript.start_stream(view)

    def _stored_views(self) -> list[MessageView]:
        from assistant.store import messages
        from assistant.tui.views import message_views

        conversation = self.conversation
        if self.open_log is None or conversation is None or conversation.leaf_id is None:
            return []
        path = messages.path_with_siblings(self.open_log.db, conversation.leaf_id)
        views = message_views(path, self._now(), retry_key=self._retry_key)
        if (reply := self.reply) is not None:  # the log is half a second behind
            return [replace(view, text=reply.text) if self._grows_here(view) else view for view in views]
        return views

    def _grows_here(self, view: MessageView) -> bool:
        """Whether the message is a reply that this window is writing."""
        reply = self.reply
        return reply is not None and reply.message_id == view.id

    async def show_step(self, reply: "Reply", step: "Step") -> None:
        """Show a step of the reply that grows in this conversation."""
        from assistant.dialogue import ReplyEnded, ReplyStarted
        from assistant.events import Prefilled, Token

        match step:
            case ReplyStarted():
                self._show_start(step.message_id)
            case Prefilled() if step.dropped_messages not in (0, self._noticed):
                self._notice_left_out(step.dropped_messages)
            case Token():
                await self.transcript.append(reply.message_id, step.text)
            case ReplyEnded():
                await self._show_end(step.message_id)

    def _show_start(self, message_id: int) -> None:
        self._unsent = ""
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
            self._shown = [ended if view.id == message_id else view for view in self._shown]
        self.refresh_bindings()

    def last_figures(self) -> list[str]:
        """Figures of the last reply that has ended."""
        from assistant.store import messages
        from assistant.tui.views import figures_of_outcome

        view = self.last_reply
        if self.open_log is None or view is None or view.state == "growing":
            return []
        return figures_of_outcome(messages.reply_info(self.open_log.db, view.id).outcome)

    # --- sending

    @on(Composer.Submitted)
    def _send_typed(self, event: Composer.Submitted) -> None:
        event.stop()
        if self._replies is None or self.open_log is None:
            self.notify("The log is still being opened. Press enter again in a moment.")
        elif self.reply is not None:
            self.notify("A reply is still growing. Stop it first, or wait for its end.")
        elif not self.model:
            self.post_message(self.ModelWanted())
        elif self._editing is not None:
            dialogue, edited = self.open_log.dialogue, self._editing
            self._unsent = event.text
            self._end_edit()
            self._start(dialogue.edit(edited, event.text))
        else:
            self._unsent = event.text
            self.composer.clear()
            self._send(event.text)

    def _send(self, text: str) -> None:
        from assistant.store import conversations

        assert self.open_log is not None
        self.keep_draft()
        if self.conversation_id is None:
            begun = conversations.create(self.open_log.db, **_values(self.setup))
            self.conversation_id = begun.id
            self.post_message(self.Begun())
        conversation = self.conversation
        assert conversation is not None
        self._start(self.open_log.dialogue.send(conversation.id, text, parent_id=conversation.leaf_id))

    def _start(self, steps: Any, *, before: str = "") -> None:
        assert self._replies is not None and self.open_log is not None and self.conversation_id is not None
        self._replies.start(self.open_log, self.conversation_id, steps, before=before)
        self.post_message(self.Changed())
        self.refresh_bindings()

    def take_back(self) -> None:
        """Put what could not be sent into the composer again."""
        if not self.composer.text:
            self.composer.load_text(self._unsent)
            self.composer.move_cursor(self.composer.document.end)
        self._unsent = ""

    # --- what replies are made with

    @property
    def model(self) -> str:
        return self.current_setup.model

    @property
    def current_setup(self) -> Setup:
        """What the next reply is made with."""
        conversation = self.conversation
        if conversation is None:
            return self.setup
        return Setup(conversation.model, conversation.template, conversation.inputs, conversation.sampling)

    def configure(self, **changes: Any) -> None:
        """Change what the next replies are made with: `model`, `template`, `inputs`, `sampling`."""
        from assistant.store import conversations

        self.setup = replace(self.current_setup, **changes)
        if self.open_log is not None and self.conversation_id is not None:
            conversations.configure(self.open_log.db, self.conversation_id, **changes)
        self.post_message(self.Changed())

    # --- drafts

    @on(TextArea.Changed)
    def _keep_draft_soon(self) -> None:
        if self._draft_timer is not None:
            self._draft_timer.stop()
        self._draft_timer = self.set_timer(DRAFT_AFTER_S, self.keep_draft)

    def keep_draft(self) -> None:
        """Store what is typed but not sent."""
        from assistant.store import conversations

        if self._draft_timer is not None:
            self._draft_timer.stop()
            self._draft_timer = None
        if self.open_log is not None:
            text = self.composer.text if self._editing is None else self._put_aside
            conversations.set_draft(self.open_log.db, self.conversation_id, text)

    # --- actions on a message: the selected one, or the last where none is

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if action == "leave_edit":
            return self._editing is not None
        return action not in _NEEDS or self.can(action)

    def can(self, action: str) -> bool:
        """Whether an action on the selected message makes sense now."""
        view = self._target()
        if view is None or (self.reply is not None and action not in ("copy", "copy_code", "fold", "sibling")):
            return False
        is_reply = view.role == "assistant"
        match action:
            case "continue_reply":
                return is_reply and view.state in ("cut", "stopped", "interrupted") and view is self._shown[-1]
            case "sibling":
                return view.siblings > 1 and self.reply is None
            case "copy_code" | "fold":
                return is_reply
            case _:
                return True

    def _target(self) -> MessageView | None:
        selected = self.transcript.selected if self.screen.focused is self.transcript else None
        return next((view for view in self._shown if view.id == selected), self._shown[-1] if self._shown else None)

    def action_regenerate(self) -> None:
        """Another reply in place of the selected one, or to the selected message."""
        view = self._target()
        if self.open_log is None or view is None:
            return
        at = self._shown.index(view)
        if view.role == "assistant":
            self._start(self.open_log.dialogue.regenerate(view.id))
        elif at + 1 < len(self._shown):
            self._start(self.open_log.dialogue.regenerate(self._shown[at + 1].id))

    def action_continue_reply(self) -> None:
        view = self._target()
        if self.open_log is not None and view is not None:
            self._start(self.open_log.dialogue.continue_reply(view.id), before=view.text)

    def action_edit(self) -> None:
        """Put the selected message of the person, or the one before the selected reply, into the composer."""
        view = self._target()
        if view is None:
            return
        upto = self._shown[: self._shown.index(view) + 1]
        said = next((each for each in reversed(upto) if each.role == "user"), None)
        if said is None:
            return
        if self._editing is None:
            self._put_aside = self.composer.text
        self._editing = said.id
        self.composer.load_text(said.text)
        self.composer.move_cursor(self.composer.document.end)
        self.composer.border_title = "edit: the message before stays as another version"
        self.composer.focus()
        self.refresh_bindings()

    def action_leave_edit(self) -> None:
        self._end_edit()

    def _end_edit(self) -> None:
        if self._editing is None:
            return
        self._editing = None
        self.composer.border_title = None
        self.composer.load_text(self._put_aside)
        self._put_aside = ""
        self.refresh_bindings()

    def action_sibling(self, step: int) -> None:
        view = self._target()
        if view is not None:
            self.open_sibling(view.id, step)

    @on(Transcript.SiblingWanted)
    def _sibling_clicked(self, event: Transcript.SiblingWanted) -> None:
        self.open_sibling(event.message_id, event.step)

    def open_sibling(self, message_id: int, step: int) -> None:
        """Open the branch of the version before or after a message."""
        from assistant.store import messages

        if self.open_log is None or self.conversation_id is None or self.reply is not None:
            return
        versions = messages.siblings(self.open_log.db, message_id)
        at = versions.index(message_id) + step
        if not 0 <= at < len(versions):
            return
        messages.open_leaf(self.open_log.db, self.conversation_id, messages.newest_leaf(self.open_log.db, versions[at]))
        self.refresh_messages()
        if self.transcript.has_focus:
            self.transcript.select(versions[at])
        self.post_message(self.Changed())

    async def action_copy(self) -> None:
        view = self._target()
        if view is not None:
            await self._copy(self.transcript.answer(view.id), "the message")

    def action_copy_code(self) -> None:
        view = self._target()
        blocks = [] if view is None else self.transcript.code_blocks(view.id)
        if len(blocks) > 1:
            self._pick_block(blocks)
        elif blocks:
            self.run_worker(self._copy(blocks[0], "the code block"))
        else:
            self.notify("There is no code block in this message.")

    def _pick_block(self, blocks: list[str]) -> None:
        from assistant.tui.screens.pick import Choice, PickScreen

        def chosen(value: str | None) -> None:
            if value is not None:
                self.run_worker(self._copy(blocks[int(value)], "the code block"))

        choices = [
            Choice(str(i), block.strip().partition("\n")[0] or "(empty)", f"{block.count(chr(10)) + 1} lines")
            for i, block in enumerate(blocks)
        ]
        self.app.push_screen(PickScreen("Copy a code block", choices), chosen)

    async def _copy(self, text: str, what: str) -> None:
        from assistant import clipboard

        taken_by = await clipboard.copy(self.app, text)
        self.notify(f"Copied {what} to {taken_by}'s clipboard.")

    def action_fold(self) -> None:
        view = self._target()
        if view is not None:
            self.transcript.toggle_reasoning(view.id)

    # --- between transcript and composer

    @on(Composer.LeaveUp)
    def _to_transcript(self) -> None:
        if self._shown:
            self.transcript.focus()

    @on(Transcript.LeaveDown)
    def _to_composer(self) -> None:
        self.composer.focus()

    @on(Transcript.MessageSelected)
    def _selection_changed(self) -> None:
        self.refresh_bindings()


_NEEDS = ("regenerate", "edit", "continue_reply", "sibling", "copy", "copy_code", "fold")


def _values(setup: Setup) -> dict[str, Any]:
    return {"model": setup.model, "template": setup.template, "inputs": setup.inputs, "sampling": setup.sampling}
