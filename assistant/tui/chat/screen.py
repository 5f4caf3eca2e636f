"""The chat: the conversations at the left, the open one at the right, the status line below."""

from dataclasses import dataclass
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
from assistant.tui.background import errors_shown, every, in_background
from assistant.tui.chat.branching import Branching
from assistant.tui.chat.composer import Composer
from assistant.tui.chat.conversation import BUSY, ConversationView
from assistant.tui.chat.conversation_list import ConversationList, ConversationRow
from assistant.tui.chat.conversations import ConversationsView
from assistant.tui.chat.opened import Setup
from assistant.tui.clock import Now
from assistant.tui.judging.judging import Judging
from assistant.tui.widgets.status_line import StatusLine
from prompts.errors import PromptError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlite_utils import Database

    from assistant.dialogue.exchange import Step
    from assistant.tui.chat.branches import Chosen
    from assistant.tui.logs import Logs
    from assistant.tui.replies import Reply

NARROW_COLUMNS = 100
"""A narrower terminal shows the list or the conversation, not both."""
LOOK_EVERY_S = 1.0
"""How often the log is asked whether another window has changed it."""
STATUS_EVERY_S = 0.25


class ChatScreen(Screen[None]):
    """Paints without a log; `attach` brings it to life."""

    BINDINGS: ClassVar[list[BindingType]] = keys.CHAT
    AUTO_FOCUS = "Composer"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW_COLUMNS, "-wide")]  # noqa: RUF012  as Textual declares it

    @dataclass
    class RoomWanted(Message):
        """The reader wants to see another screen, by its name in `ROOMS`."""

        name: str

    def __init__(self, settings: Settings, *, now: Now) -> None:
        super().__init__(classes="-list")
        self._settings = settings
        self._now = now
        self._logs: Logs | None = None
        self._seen = 0
        """The state of the log that is shown."""
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

    def attach(self, logs: "Logs", last: str) -> None:
        """The logs are open: show what is in them, first the conversation `last` that was open last, if any was."""
        from assistant.tui.replies import Replies

        self._logs = logs
        self.side.attach(logs)
        self.replies = Replies(self._step_arrived, self._refused)
        self.view.replies = self.replies
        self.open(private=False, conversation_id=int(last) if last.isdecimal() else None)
        every(self, LOOK_EVERY_S, self._look)

    def open(self, *, private: bool, conversation_id: int | None, select: int | None = None) -> None:
        """Show a conversation, or with None one that has not begun. `select`: a message to go to."""
        setup = Setup(self.logs.model(), self._settings.template)
        self.view.open(self.logs.log(private=private), conversation_id, setup, select=select)
        if not private:
            self._remember_open(conversation_id)
        self.remove_class("-list-asked")
        self.view.composer.focus()
        self.side.refresh_rows()
        self._show_around()

    def _remember_open(self, conversation_id: int | None) -> None:
        from assistant.store import conversations

        self._act(lambda db: conversations.remember(db, "open", str(conversation_id or "")))

    def _act(self, change: "Callable[[Database], object]") -> None:
        """Change the log on disk, in the background."""
        acted = self.logs.saved.worker.act(change)
        in_background(self, lambda: acted)

    def open_at(self, conversation_id: int, message_id: int) -> None:
        """Show a conversation of the log on disk with this message selected, on whatever branch it is."""
        from assistant.store import messages

        log = self.logs.saved

        def go(db: "Database") -> None:
            messages.open_at(db, conversation_id, message_id)
            log.follow_branch(db, conversation_id)

        self._act(go)
        self.open(private=False, conversation_id=conversation_id, select=message_id)

    async def _look(self) -> None:
        """Show what another window has changed in the log."""
        from assistant.store.database import changes_elsewhere

        if self._logs is not None:
            seen = await self._logs.saved.worker.ask(changes_elsewhere)
            if seen != self._seen:
                self._seen = seen
                self.refresh_all()

    async def keep_all(self) -> None:
        """Keep what is typed and what has come of replies that grow; the logs are not used after this."""
        self.view.writing.keep_at_end()
        await self.replies.stop_all()
        self._logs = self.view.opened.log = None  # messages that are still under way find nothing to read

    # --- what is shown around the conversation

    def refresh_all(self) -> None:
        """Read the conversation and the list anew."""
        if self._logs is not None:
            self.side.refresh_rows()
            self.view.refresh_soon()

    def _show_around(self) -> None:
        """Show the title, the status and the marks in the list."""
        if self._logs is not None:
            self._mark()
            self._show_title()
            self._show_status()

    def _mark(self) -> None:
        self.side.conversations.mark(self.view.opened.key, self.replies.busy)

    def _show_title(self) -> None:
        from assistant.tui.dialogs.sampling import describe

        conversation = self.view.opened.conversation
        title = conversation.title if conversation else ""
        line = Content(printable(title, newlines=False) or "New conversation")
        if self.view.opened.is_private:
            line += Content.styled("  private · kept in memory only", "$accent")
        self.query_one("#title", Static).update(line)
        own = Content(describe(self.view.opened.setup.sampling))
        self.query_one("#own", Static).update(own.stylize(Style.from_meta({"@click": "screen.sampling"})))

    def _show_status(self) -> None:
        from assistant.tui import views

        self._status_s = monotonic()
        opened, reply = self.view.opened, self.view.reply
        setup, grows = opened.setup, reply is not None and reply.growing.prefilled is not None
        figures = views.figures_of_reply(reply) if reply is not None and grows else opened.held.figures
        line = self.query_one(StatusLine)
        line.state = reply.state if reply is not None else ""
        line.facts = (setup.model.rpartition("/")[2] or "no model", opened.held.speaker, setup.template, *figures)

    # --- replies

    async def _step_arrived(self, reply: "Reply", step: "Step") -> None:
        from assistant.dialogue.exchange import ReplyEnded, ReplyStarted
        from assistant.events import Token

        here = self.view.reply is reply or reply.key == self.view.opened.key
        if here:
            await self.view.show_step(reply, step)
        if isinstance(step, ReplyStarted | ReplyEnded):
            self.side.refresh_rows()
            self._show_around()
        elif here and (not isinstance(step, Token) or monotonic() - self._status_s > STATUS_EVERY_S):
            self._show_status()

    def _refused(self, reply: "Reply", error: AssistantError | PromptError) -> None:
        self.notify(printable(str(error)), severity="error", markup=False)
        if reply.key == self.view.opened.key:
            self.view.writing.take_back()
        self._show_around()

    @on(ConversationView.Begun)
    def _begun(self) -> None:
        if not self.view.opened.is_private:
            self._remember_open(self.view.opened.conversation_id)

    @on(ConversationView.Changed)
    def _changed(self) -> None:
        self._show_around()

    @on(ConversationsView.Changed)
    def _list_changed(self) -> None:
        self.refresh_all()

    @on(Judging.Told)
    def _tell(self, event: Judging.Told) -> None:
        self.query_one(StatusLine).tell(event.text)

    # --- the list

    @on(ConversationList.Opened)
    def _open_row(self, event: ConversationList.Opened) -> None:
        self.open(private=event.row.private, conversation_id=event.row.id)

    @on(ConversationsView.Removed)
    def _removed(self, event: ConversationsView.Removed) -> None:
        async def remove() -> None:
            await self.replies.stop(event.key)
            if event.key == self.view.opened.key:
                in_list = self.side.conversations.has_focus
                self.open(private=False, conversation_id=None)
                if in_list:
                    self.side.conversations.focus()
            self.refresh_all()

        in_background(self, remove)

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
            return self._logs is not None and self.view.opened.conversation_id is not None
        return self._logs is not None or action not in _NEED_LOGS

    def action_stop(self) -> None:
        key = self.view.opened.key
        if key is not None:
            in_background(self, lambda: self.replies.stop(key))

    def action_new(self) -> None:
        self.open(private=False, conversation_id=None)

    def action_new_private(self) -> None:
        self.open(private=True, conversation_id=None)

    def action_rename(self) -> None:
        if (key := self.view.opened.key) is not None and (conversation := self.view.opened.conversation) is not None:
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

        in_background(self, lambda: choose_adapter(self.view, self.logs))

    @on(ConversationView.MakersWanted)
    def _compare_makers(self, event: ConversationView.MakersWanted) -> None:
        from assistant.tui.chat.compare_makers import compare_makers

        in_background(self, lambda: compare_makers(self.view, self.logs, event.message_id))

    @on(Branching.Forked)
    def _forked(self, event: Branching.Forked) -> None:
        self.open(private=self.view.opened.is_private, conversation_id=event.conversation_id)
        self.query_one(StatusLine).tell("forked · the original conversation is unchanged")

    def action_branches(self) -> None:
        """Show every branch, and go to what is chosen there."""
        from assistant.tui.chat.branches import BranchesScreen, read_branches

        log, conversation_id, target = self.view.opened.log, self.view.opened.conversation_id, self.view.target
        if log is None or conversation_id is None or target is None:
            return

        async def show() -> None:
            found = await log.worker.ask(lambda db: read_branches(db, conversation_id))
            self.app.push_screen(BranchesScreen(found, target.id), self._branch_chosen)

        in_background(self, show)

    def _branch_chosen(self, chosen: "Chosen | None") -> None:
        if chosen is None:
            return
        if chosen.fork:
            in_background(self, lambda: self.view.branching.fork(chosen.message_id))
        elif self.view.reply is not None:
            self.notify(BUSY)
        else:
            self.view.go_to(chosen.message_id)

    def action_sampling(self) -> None:
        from assistant.tui.chat.choose import set_sampling

        with errors_shown(self):
            set_sampling(self.view, self.logs)

    @on(ConversationView.TokensWanted)
    def _show_tokens(self, event: ConversationView.TokensWanted) -> None:
        from assistant.tui.judging.tokens import TokensScreen

        self.app.push_screen(TokensScreen(self.logs, event.log, event.message_id))

    @on(ConversationView.ModelWanted)
    def _show_models(self) -> None:
        self.action_room("models")

    def action_room(self, name: str) -> None:
        self.post_message(self.RoomWanted(name))


_NEED_LOGS = (
    "new", "new_private", "choose_template", "choose_model", "choose_adapter", "sampling", "room", "to_list", "search",
)  # fmt: skip
