"""One conversation: its messages, the composer below them, and what can be done to a message."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TextArea

from assistant.errors import AssistantError
from assistant.tui import keys
from assistant.tui.chat.branched_conversation import BRANCHING, BranchedConversation
from assistant.tui.chat.composer import Composer
from assistant.tui.chat.curated_conversation import CHANGING, JUDGING
from assistant.tui.chat.shown_conversation import Setup
from assistant.tui.clock import Now
from assistant.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from assistant.dialogue.exchange import Step
    from assistant.tui.logs import Log

DRAFT_AFTER_S = 0.5
"""What is typed is kept when no key was pressed for this long."""
PLACEHOLDER = "Type a message · / for templates"
EDITING = "edit · the message before stays as another version"
ALSO_WHILE_IT_GROWS = ("copy", "copy_code", "fold", *JUDGING)
ON_A_MESSAGE = ("regenerate", "edit", "continue_reply", "tokens", *ALSO_WHILE_IT_GROWS, *CHANGING, *BRANCHING)


class ConversationView(BranchedConversation):
    """The open conversation, or one that has not begun. What a person does changes the log through the dialogue."""

    BINDINGS: ClassVar[list[BindingType]] = keys.MESSAGE

    class Begun(Message):
        """The conversation has got its row."""

    class TokensWanted(Message):
        """The reader wants to see the tokens of a reply."""

        def __init__(self, log: "Log", message_id: int) -> None:
            super().__init__()
            self.log = log
            self.message_id = message_id

    class ModelWanted(Message):
        """Something was sent, but no model is chosen."""

    def __init__(self, *, now: Now, retry_key: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(now=now, retry_key=retry_key, id=id)
        self._editing: int | None = None
        self._put_aside = ""
        """The draft that was in the composer before an edit."""
        self._unsent = ""
        """What was sent last, until it is stored."""
        self._sent_early = False
        """Enter was pressed before any log was open."""
        self._draft_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield Composer(placeholder=PLACEHOLDER, id="composer")

    @property
    def composer(self) -> Composer:
        return self.query_one(Composer)

    def open(self, log: "Log", conversation_id: int | None, setup: Setup) -> None:
        """Show a conversation of `log`, or with None one that has not begun. What was typed in the one before is kept.

        Keys that were pressed before any log was open stay in the composer, and an enter among them sends it now.
        """
        from assistant.store import conversations

        typed_early = self.composer.text if self.open_log is None else ""
        self.keep_draft()
        self._end_edit()
        self.open_log, self.conversation_id, self.setup = log, conversation_id, setup
        self.shown = []
        self._fill_composer(conversations.get_draft(log.db, conversation_id) + typed_early)
        self.set_class(log.private, "private")
        self.refresh_messages()
        if self._sent_early:
            self._sent_early = False
            self.composer.action_submit()

    def _fill_composer(self, text: str) -> None:
        self.composer.load_text(text)
        self.composer.move_cursor(self.composer.document.end)

    # --- sending

    @on(Composer.Submitted)
    def _submitted(self, event: Composer.Submitted) -> None:
        event.stop()
        if self.open_log is None:
            self._sent_early = True
        elif self.reply is not None:
            self.notify("A reply is still being written. Press Esc to stop it.")
        elif not self.current_setup.model:
            self.post_message(self.ModelWanted())
        else:
            try:
                self._send(self.open_log, event.text)
            except AssistantError:  # it could not be stored
                self.take_back()
                raise

    def _send(self, log: "Log", text: str) -> None:
        self._unsent = text
        if self._editing is not None:
            edited = self._editing
            self._end_edit()
            self._start(log.dialogue.edit(edited, text))
            return
        self.composer.clear()
        self.keep_draft()
        if self.conversation_id is None:
            self._begin(log)
        conversation = self.conversation
        assert conversation is not None
        self._start(log.dialogue.send(conversation.id, text, parent_id=conversation.leaf_id))

    def _begin(self, log: "Log") -> None:
        from assistant.store import conversations

        setup = self.setup
        begun = conversations.create(
            log.db,
            model=setup.model,
            template=setup.template,
            inputs=setup.inputs,
            sampling=setup.sampling,
            adapter=setup.adapter,
        )
        self.conversation_id = begun.id
        self.post_message(self.Begun())

    def _start(self, steps: "AsyncGenerator[Step]", *, before: str = "") -> None:
        assert self.replies is not None and self.open_log is not None and self.conversation_id is not None
        self.replies.start(self.open_log, self.conversation_id, steps, before=before)
        self.post_message(self.Changed())
        self.refresh_bindings()

    def show_start(self, message_id: int) -> None:
        self._unsent = ""
        super().show_start(message_id)

    def take_back(self) -> None:
        """Put what could not be sent into the composer again."""
        if not self.composer.text:
            self._fill_composer(self._unsent)
        self._unsent = ""

    def configure(self, **changes: Any) -> None:
        """Change what the next replies are made with: `model`, `template`, `inputs`, `sampling`."""
        from assistant.store import conversations

        if changes.get("model", self.current_setup.model) != self.current_setup.model:
            self.pick_adapter(None)  # one is of one model
        self.setup = replace(self.current_setup, **changes)
        if self.open_log is not None and self.conversation_id is not None:
            conversations.configure(self.open_log.db, self.conversation_id, **changes)
        self.post_message(self.Changed())

    def pick_adapter(self, name: str | None) -> None:
        """Make the next replies with an adapter, with an empty name by the base; None: with what is in use."""
        from assistant.store import conversations

        self.setup = replace(self.current_setup, adapter=name)
        if self.open_log is not None and self.conversation_id is not None:
            conversations.pick_adapter(self.open_log.db, self.conversation_id, name)
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
        return action not in ON_A_MESSAGE or self._can(action)

    def _can(self, action: str) -> bool:
        """Whether an action on the selected message makes sense now."""
        view = self.target
        if view is None or (self.reply is not None and action not in ALSO_WHILE_IT_GROWS):
            return False
        match action:
            case "edit":
                return view.role == "user" or self.screen.focused is not self.transcript
            case _ if action in JUDGING or action in CHANGING:
                return self.can_curate(action, view)
            case "continue_reply":
                return view.state in ("cut", "stopped", "interrupted") and view is self.shown[-1]
            case "compare":
                return view.role == "assistant" and view.siblings > 1
            case "compare_makers":
                return view.role == "assistant"
            case "copy_code":
                return view.role == "assistant" and bool(self.transcript.code_blocks(view.id))
            case "fold" | "tokens":
                return view.role == "assistant"
            case _:
                return True

    def action_regenerate(self) -> None:
        """Another reply in place of the selected one, or to the selected message."""
        view = self.target
        if self.open_log is None or view is None:
            return
        at = self.shown.index(view) + (view.role == "user")
        if at < len(self.shown):
            self._start(self.open_log.dialogue.regenerate(self.shown[at].id))

    def action_continue_reply(self) -> None:
        view = self.target
        if self.open_log is not None and view is not None:
            self._start(self.open_log.dialogue.continue_reply(view.id), before=view.text)

    def action_edit(self) -> None:
        """Put the selected message of the person, or the last one where none is selected, into the composer."""
        view = self.target
        upto = self.shown[: self.shown.index(view) + 1] if view else []
        said = next((each for each in reversed(upto) if each.role == "user"), None)
        if said is None:
            return
        if self._editing is None:
            self._put_aside = self.composer.text
        self._editing = said.id
        self._fill_composer(said.text)
        self.composer.border_title = EDITING
        self.composer.focus()
        self.refresh_bindings()

    def action_leave_edit(self) -> None:
        self._end_edit()

    def _end_edit(self) -> None:
        if self._editing is None:
            return
        self._editing = None
        self.composer.border_title = None
        self._fill_composer(self._put_aside)
        self._put_aside = ""
        self.refresh_bindings()

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
        if self.open_log is not None and view is not None:
            self.post_message(self.TokensWanted(self.open_log, view.id))

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
