"""The chat: the conversations at the left, the open one at the right, the status line below."""

from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Static

from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.settings import Settings
from assistant.tui import keys
from assistant.tui.chat.composer import Composer
from assistant.tui.chat.conversation import ConversationView
from assistant.tui.chat.conversation_list import ConversationList, ConversationRow
from assistant.tui.chat.conversations import ConversationsView
from assistant.tui.chat.shown_conversation import Setup
from assistant.tui.clock import Now
from assistant.tui.told_errors import TellsErrors
from assistant.tui.widgets.status_line import StatusLine
from prompts.errors import PromptError

if TYPE_CHECKING:
    from assistant.dialogue.exchange import Step
    from assistant.tui.chat.branches import Chosen
    from assistant.tui.logs import Logs
    from assistant.tui.replies import Reply

NARROW_COLUMNS = 100
"""A narrower terminal shows the list or the conversation, not both."""
LOOK_EVERY_S = 1.0
"""How often the log is asked whether another window has changed it."""
STATUS_EVERY_S = 0.25


class ChatScreen(TellsErrors, Screen[None]):
    """Paints without a log; `attach` brings it to life."""

    BINDINGS: ClassVar[list[BindingType]] = keys.CHAT
    AUTO_FOCUS = "Composer"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW_COLUMNS, "-wide")]  # noqa: RUF012  as Textual declares it

    class ModelsWanted(Message):
        """The reader wants to see the models."""

    class TrainWanted(Message):
        """The reader wants to train the model."""

    class LogWanted(Message):
        """The reader wants to see the log."""

    class PromptsWanted(Message):
        """The reader wants to see the templates."""

    def __init__(self, settings: Settings, *, now: Now) -> None:
        super().__init__(classes="-list")
        self._settings = settings
        self._now = now
        self._logs: Logs | None = None
        self._seen = 0
        self._status_s = 0.0

    def compose(self) -> ComposeResult:
        retry_key = keys.shown(self._settings.keys, "chat.regenerate", "f5")
        with Horizontal(id="body"):
            yield ConversationsView(now=self._now, id="side")
            with Vertical(id="main"):
                with Horizontal(id="title-line"):
                    yield Static("", id="title")
                    yield Static("", id="own")
                yield ConversationView(now=self._now, retry_key=retry_key)
        yield StatusLine()

    @property
    def view(self) -> ConversationView:
        """The open conversation."""
        return self.query_one(ConversationView)

    @property
    def side(self) -> ConversationsView:
        return self.query_one(ConversationsView)

    @property
    def is_attached_to_logs(self) -> bool:
        """Whether the log is there: before, the screen only takes what is typed."""
        return self._logs is not None

    @property
    def logs(self) -> "Logs":
        """What `attach` brought. Actions that need it are not offered before."""
        assert self._logs is not None
        return self._logs

    # --- the logs

    def attach(self, logs: "Logs") -> None:
        """The logs are open: show what is in them, first the conversation that was open last."""
        from assistant.store import conversations
        from assistant.tui.replies import Replies

        self._logs = logs
        self.side.attach(logs)
        self.replies = Replies(self._step_arrived, self._refused)
        self.view.replies = self.replies
        last = conversations.recall(logs.saved.db, "open")
        self.open(private=False, conversation_id=int(last) if last.isdecimal() else None)
        self._looking = self.set_interval(LOOK_EVERY_S, self._look)

    def open(self, *, private: bool, conversation_id: int | None) -> None:
        """Show a conversation, or with None one that has not begun."""
        from assistant.store import conversations

        setup = Setup(self.logs.model(), self._settings.template)
        try:
            self.view.open(self.logs.log(private=private), conversation_id, setup)
        except AssistantError:  # deleted in another window
            conversation_id = None
            self.view.open(self.logs.log(private=private), None, setup)
        if not private:
            conversations.remember(self.logs.saved.db, "open", str(conversation_id or ""))
        self.remove_class("-list-asked")
        self.view.composer.focus()
        self.refresh_all()

    def open_at(self, conversation_id: int, message_id: int) -> None:
        """Show a conversation of the log on disk with this message selected, on whatever branch it is."""
        from assistant.store import messages

        db = self.logs.saved.db
        messages.open_at(db, conversation_id, message_id)
        self.logs.saved.follow_branch(conversation_id)
        self.open(private=False, conversation_id=conversation_id)
        self.view.transcript.select(message_id)
        self.view.transcript.focus()

    def _look(self) -> None:
        """Show what another window has changed in the log."""
        from assistant.store.database import changes_elsewhere

        seen = changes_elsewhere(self.logs.saved.db)
        if seen != self._seen:
            self._seen = seen
            self.view.refresh_messages()
            self.refresh_all()

    async def keep_all(self) -> None:
        """Keep what is typed and what has come of replies that grow; the logs are not used after this."""
        self._looking.stop()
        self.view.keep_draft()
        await self.replies.stop_all()
        self._logs = self.view.open_log = None  # messages that are still under way find nothing to read

    # --- what is shown around the conversation

    def refresh_all(self) -> None:
        """Show the list, the title and the status anew."""
        if self._logs is None:
            return
        self.side.refresh_rows()
        self._mark()
        self._show_title()
        self._show_status()

    def _mark(self) -> None:
        self.side.conversations.mark(self.view.key, self.replies.busy)

    def _show_title(self) -> None:
        from assistant.tui.dialogs.sampling import describe

        conversation = self.view.conversation
        title = conversation.title if conversation else ""
        line = Content(printable(title, newlines=False) or "New conversation")
        if self.view.open_log is not None and self.view.open_log.private:
            line += Content.styled("  private · kept in memory only", "$accent")
        self.query_one("#title", Static).update(line)
        own = Content(describe(self.view.current_setup.sampling))
        self.query_one("#own", Static).update(own.stylize(Style.from_meta({"@click": "screen.sampling"})))

    def _show_status(self) -> None:
        from assistant.tui import views

        self._status_s = monotonic()
        setup, reply = self.view.current_setup, self.view.reply
        figures = (
            self.view.last_figures() if reply is None or reply.prefilled is None else views.figures_of_reply(reply)
        )
        line = self.query_one(StatusLine)
        line.state = reply.state if reply is not None else ""
        adapter = self.logs.told_adapter(setup.model, setup.adapter)
        line.facts = (setup.model.rpartition("/")[2] or "no model", adapter, setup.template, *figures)

    # --- replies

    async def _step_arrived(self, reply: "Reply", step: "Step") -> None:
        from assistant.dialogue.exchange import ReplyEnded, ReplyStarted
        from assistant.events import Token

        here = self.view.reply is reply or reply.key == self.view.key
        if here:
            await self.view.show_step(reply, step)
        if isinstance(step, ReplyStarted | ReplyEnded):
            self.refresh_all()
        elif here and (not isinstance(step, Token) or monotonic() - self._status_s > STATUS_EVERY_S):
            self._show_status()

    def _refused(self, reply: "Reply", error: AssistantError | PromptError) -> None:
        self.notify(printable(str(error)), severity="error", markup=False)
        if reply.key == self.view.key:
            self.view.take_back()
        self.refresh_all()

    @on(ConversationView.Begun)
    def _begun(self) -> None:
        from assistant.store import conversations

        if self.view.open_log is not None and not self.view.open_log.private:
            conversations.remember(self.logs.saved.db, "open", str(self.view.conversation_id))
            conversations.set_draft(self.logs.saved.db, None, "")

    @on(ConversationView.Changed)
    @on(ConversationsView.Changed)
    def _changed(self) -> None:
        self.refresh_all()

    # --- the list

    @on(ConversationList.Opened)
    def _open_row(self, event: ConversationList.Opened) -> None:
        self.open(private=event.row.private, conversation_id=event.row.id)

    @on(ConversationsView.Removed)
    async def _removed(self, event: ConversationsView.Removed) -> None:
        await self.replies.stop(event.key)
        if event.key == self.view.key:
            in_list = self.side.conversations.has_focus
            self.open(private=False, conversation_id=None)
            if in_list:
                self.side.conversations.focus()
        self.refresh_all()

    @on(ConversationList.Asked)
    async def _asked(self, event: ConversationList.Asked) -> None:
        await self.run_action({"undo": "undo_delete"}.get(event.action, event.action))

    def action_undo_delete(self) -> None:
        self.side.undo_delete()

    def action_to_list(self) -> None:
        self._show_list()
        self.side.conversations.focus()

    def action_search(self) -> None:
        self._show_list()
        self.side.focus_search()

    def _show_list(self) -> None:
        self.add_class("-list", "-list-asked")

    def action_toggle_list(self) -> None:
        """Show the list, or hide it. A narrow terminal shows it in place of the conversation."""
        shown = "-list-asked" if self.has_class("-narrow") else "-list"
        self.toggle_class(shown)
        if self.has_class("-narrow") and self.has_class(shown):
            self.side.conversations.focus()
        else:
            self.view.composer.focus()

    def action_to_composer(self) -> None:
        self.remove_class("-list-asked")
        self.view.composer.focus()

    # --- the conversation

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if action == "stop":
            return self._logs is not None and self.view.reply is not None
        if action in ("rename", "branches"):
            return self._logs is not None and self.view.conversation_id is not None
        return self._logs is not None or action not in _NEED_LOGS

    async def action_stop(self) -> None:
        if self.view.key is not None:
            await self.replies.stop(self.view.key)

    def action_new(self) -> None:
        self.open(private=False, conversation_id=None)

    def action_new_private(self) -> None:
        self.open(private=True, conversation_id=None)

    def action_rename(self) -> None:
        if (key := self.view.key) is not None and (conversation := self.view.conversation) is not None:
            self.side.rename(ConversationRow(conversation.id, conversation.title, 0, private=key[0]))

    @on(Composer.SlashTyped)
    def action_choose_template(self) -> None:
        if self._logs is not None:
            from assistant.tui.chat.choose import choose_template

            choose_template(self.view, self._logs)

    def action_choose_model(self) -> None:
        from assistant.tui.chat.choose import choose_model

        choose_model(self.view, self.logs)

    def action_choose_adapter(self) -> None:
        from assistant.tui.chat.choose import choose_adapter

        choose_adapter(self.view, self.logs)

    @on(ConversationView.MakersWanted)
    def _compare_makers(self, event: ConversationView.MakersWanted) -> None:
        from assistant.tui.judging.comparing import compare_makers

        compare_makers(self.view, self.logs, event.message_id)

    @on(ConversationView.Forked)
    def _forked(self, event: ConversationView.Forked) -> None:
        assert self.view.open_log is not None
        self.open(private=self.view.open_log.private, conversation_id=event.conversation_id)
        self.query_one(StatusLine).tell("forked; the conversation that it came from is as it was")

    def action_branches(self) -> None:
        """Show every branch, and go to what is chosen there."""
        from assistant.tui.chat.branches import BranchesScreen

        view = self.view
        if view.open_log is None or view.conversation_id is None or not view.shown:
            return
        target = view.target
        screen = BranchesScreen(view.open_log.db, view.conversation_id, target.id if target else None)
        self.app.push_screen(screen, self._branch_chosen)

    def _branch_chosen(self, chosen: "Chosen | None") -> None:
        if chosen is None:
            return
        if chosen.forked is not None:
            self.view.post_message(ConversationView.Forked(chosen.forked))
        elif self.view.reply is not None:
            self.notify("A reply is still being written. Press Esc to stop it.")
        else:
            self.view.open_path(chosen.message_id)

    def action_sampling(self) -> None:
        from assistant.tui.chat.choose import set_sampling

        set_sampling(self.view, self.logs)

    @on(ConversationView.TokensWanted)
    def _show_tokens(self, event: ConversationView.TokensWanted) -> None:
        from assistant.tui.judging.tokens import TokensScreen

        self.app.push_screen(TokensScreen(event.log.db, self.logs.client, self.logs.paths, event.message_id))

    @on(ConversationView.ModelWanted)
    def action_models(self) -> None:
        self.post_message(self.ModelsWanted())

    def action_train(self) -> None:
        self.post_message(self.TrainWanted())

    def action_log(self) -> None:
        self.post_message(self.LogWanted())

    def action_prompts(self) -> None:
        self.post_message(self.PromptsWanted())


_NEED_LOGS = (
    "new", "new_private", "choose_template", "choose_model", "choose_adapter", "sampling", "models", "prompts", "train",
    "log", "to_list", "search",
)  # fmt: skip
