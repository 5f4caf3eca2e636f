"""Which conversation a view shows, what the log holds of it, and what its next reply is made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.message import Message
from textual.widget import Widget

from assistant.tui.background import in_background
from assistant.tui.chat.conversation_list import Key
from assistant.tui.widgets.message import MessageView

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.conversations import Conversation
    from assistant.tui.logs import Log


@dataclass(frozen=True, slots=True)
class Setup:
    """What the replies of a conversation are made with."""

    model: str = ""
    template: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    adapter: str | None = None
    """Name of an adapter, empty for the base alone; None: what is in use for the model."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the log held when it was last read. `conversation` is None before the conversation begins."""

    conversation: "Conversation | None" = None
    messages: Sequence[MessageView] = ()
    """The open path, oldest first."""
    figures: Sequence[str] = ()
    """Of the newest reply that has ended."""
    speaker: str = ""
    """The adapter that the next reply is made with, in a word or two."""


@dataclass(slots=True, eq=False)
class Visit:
    """A conversation from when it is opened until another one is."""

    conversation_id: int | None = None
    """None until it begins. Set in the log's thread, so that what follows there, such as a draft, is stored with it."""


class Opened:
    """The open conversation. What is read of it is a moment behind the log; what is set shows at once."""

    class Configured(Message):
        """Something that the next reply is made with was changed, and is stored."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self.log: Log | None = None
        """The log that the conversation is in; None until a log is open."""
        self.visit = Visit()
        """Another object each time a conversation is opened."""
        self.held = Held()
        self._first_setup = Setup()
        """What a conversation that has not begun will be made with."""

    def open(self, log: "Log", conversation_id: int | None, setup: Setup) -> None:
        """Open a conversation of `log`, or with None one that has not begun."""
        self.log, self._first_setup = log, setup
        self.visit, self.held = Visit(conversation_id), Held()

    @property
    def conversation_id(self) -> int | None:
        """None for a conversation that has not begun."""
        return self.visit.conversation_id

    @property
    def key(self) -> Key | None:
        """What tells the open conversation from all others, None for one that has not begun."""
        if self.log is None or self.conversation_id is None:
            return None
        return self.log.private, self.conversation_id

    @property
    def is_private(self) -> bool:
        return self.log is not None and self.log.private

    @property
    def conversation(self) -> "Conversation | None":
        """The row of the conversation."""
        return self.held.conversation

    @property
    def setup(self) -> Setup:
        """What the next reply is made with."""
        row = self.conversation
        if row is None:
            return self._first_setup
        return Setup(row.model, row.template, row.inputs, row.sampling, row.adapter)

    async def read(self, now: datetime, retry_key: str) -> bool:
        """Read what the log holds. False where another conversation was opened meanwhile."""
        log, visit = self.log, self.visit
        if log is None:
            return False
        held = await log.worker.ask(lambda db: read(db, log, visit.conversation_id, self._first_setup, now, retry_key))
        if visit is not self.visit:
            return False
        self.held = held
        return True

    # --- what the next reply is made with

    def configure(self, **changes: Any) -> None:
        """Change `model`, `template`, `inputs`, `sampling` or `adapter`. Another model has other adapters."""
        if changes.get("model", self.setup.model) != self.setup.model:
            changes = {"adapter": None, **changes}
        log, conversation = self.log, self.conversation
        if log is None or conversation is None:
            self._first_setup = replace(self._first_setup, **changes)
            self._widget.post_message(self.Configured())
            return
        self.held = replace(self.held, conversation=replace(conversation, **changes))

        async def store() -> None:
            await log.worker.act(partial(_configure, conversation_id=conversation.id, changes=changes))
            self._widget.post_message(self.Configured())

        in_background(self._widget, store)

    def pick_adapter(self, name: str | None) -> None:
        """Make the next replies with an adapter, with an empty name by the base; None: with what is in use."""
        self.configure(adapter=name)


def _configure(db: "Database", conversation_id: int, changes: Mapping[str, Any]) -> None:
    from assistant.store import conversations
    from assistant.store.database import transaction

    others = {name: value for name, value in changes.items() if name != "adapter"}
    with transaction(db):
        if others:
            conversations.configure(db, conversation_id, **others)
        if "adapter" in changes:
            conversations.pick_adapter(db, conversation_id, changes["adapter"])


def read(
    db: "Database", log: "Log", conversation_id: int | None, first_setup: Setup, now: datetime, retry_key: str
) -> Held:
    """What the log holds of a conversation. Raises `StoreError` where there is none of that id."""
    from assistant.store import conversations, messages
    from assistant.store.judgements import curation
    from assistant.tui.views import message_views

    if conversation_id is None:
        return Held(speaker=log.speaker_name(first_setup.model, first_setup.adapter))
    row = conversations.get(db, conversation_id)
    speaker = log.speaker_name(row.model, row.adapter)
    if row.leaf_id is None:
        return Held(row, speaker=speaker)
    path = messages.path_with_siblings(db, row.leaf_id)
    judged = curation.judgements_of(db, conversation_id)
    views = message_views(path, now, retry_key=retry_key, judgements=judged)
    return Held(row, views, _last_figures(db, views), speaker)


def _last_figures(db: "Database", views: Sequence[MessageView]) -> Sequence[str]:
    from assistant.store import messages
    from assistant.tui.views import figures_of_outcome

    last = next((view for view in reversed(views) if view.role == "assistant"), None)
    if last is None or last.state == "growing" or not messages.was_generated(db, last.id):
        return ()
    return figures_of_outcome(messages.reply_info(db, last.id).outcome)
