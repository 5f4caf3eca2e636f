"""The logs that a window has open: the one on disk, and one in memory as soon as something private is said."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlite_utils import Database

from assistant.adapters.speakers import Folders, Speaker, speaker
from assistant.client import Client, Endpoint
from assistant.dialogue.exchange import Dialogue, follow_branch
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Remote
from assistant.errors import AdapterError, DatabaseDamaged, ModelError
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import adapters, conversations, deletion, importing, messages
from assistant.store.conversations import Conversation
from assistant.store.database import check, open_database, open_memory
from assistant.tui.chat.conversation_list import ConversationRow
from prompts.library import Library

UNDO_FOR_MS = 24 * 3600 * 1000
"""A deleted conversation can be brought back for this long, also from another window; then it is really gone."""

CHECKED_BYTES = 64_000_000
"""Read in a fifth of a second on a slow machine."""


@dataclass(frozen=True, slots=True)
class Log:
    """An open log and the dialogue over it."""

    db: Database
    dialogue: Dialogue
    private: bool
    registry: Database
    """The log in which adapters are registered."""

    def follow_branch(self, conversation_id: int) -> None:
        """See `dialogue.follow_branch`."""
        follow_branch(self.db, self.registry, conversation_id)

    def speaker(self, model: str, adapter: str | None) -> Speaker:
        """Who speaks in a conversation that is set to this adapter, to the base (empty), or to what is in use (None).

        Raises `AdapterError` where that can't speak for the model.
        """
        return speaker(self.registry.conn, model, adapter)


class Logs:
    """Both logs as one list of conversations, private ones first. To be used from one thread."""

    def __init__(self, saved: Database, client: Client, library: Library, paths: Paths, settings: Settings) -> None:
        self.paths = paths
        self.client = client
        self.library = library
        self.settings = settings
        self.saved = self._log(saved, private=False)
        self._private: Log | None = None

    def _log(self, db: Database, *, private: bool) -> Log:
        registry = self.saved.db if private else db
        dialogue = Dialogue(db, self.client, self.library, self.settings, registry=registry)
        return Log(db, dialogue, private, registry)

    @property
    def private(self) -> Log:
        """The log in memory."""
        if self._private is None:
            self._private = self._log(open_memory(), private=True)
        return self._private

    def log(self, *, private: bool) -> Log:
        """One of the two."""
        return self.private if private else self.saved

    def models(self) -> list[str]:
        """Names of the models that can be used now. None while a manifest is damaged: the models screen tells which."""
        try:
            return catalogue.names(self.paths)
        except ModelError:
            return []

    def adapters(self, model: str) -> list[str]:
        """Names of the adapters that our engine can put on a model: those registered for it and those that nobody
        registered. None for a model that another server runs.
        """
        try:
            elsewhere = isinstance(catalogue.find(self.paths, model), Remote)
        except ModelError:
            return []
        return [] if elsewhere else Folders(self.paths.adapters).names_for(self.saved.db.conn, model)

    def told_adapter(self, model: str, adapter: str | None) -> str:
        """Who speaks in a conversation, in a word or two; empty for the base of a model that has no adapters."""
        try:
            name = self.saved.speaker(model, adapter).name
        except AdapterError:
            return "a deleted adapter"
        return name or ("base" if adapters.every(self.saved.db, model) else "")

    def local_models(self) -> list[str]:
        """Names of the models that are on this machine, and so can be trained."""
        try:
            return [one.name for one in catalogue.installed(self.paths) if not one.embeds]
        except ModelError:
            return []

    def model_to_train(self) -> str:
        """The model of new conversations where it is on this machine, else any that is; empty for none."""
        here = self.local_models()
        return self.model() if self.model() in here else next(iter(here), "")

    def model(self) -> str:
        """Name of the model for a new conversation: as set, as chosen last, else any that is here; empty for none."""
        chosen = self.settings.model or conversations.recall(self.saved.db, "model")
        return chosen or next(iter(self.models()), "")

    def count(self, search: str = "") -> int:
        """How many conversations there are, of those whose title holds `search`."""
        return self._private_count(search) + conversations.count(self.saved.db, search)

    def page(self, offset: int, limit: int, search: str = "") -> Sequence[ConversationRow]:
        """`limit` rows of the list from `offset`."""
        private = self._private_count(search)
        rows: list[ConversationRow] = []
        if self._private is not None and offset < private:
            rows += [_row(c, private=True) for c in conversations.page(self._private.db, offset, limit, search)]
        left = limit - len(rows)
        if left > 0:
            saved = conversations.page(self.saved.db, max(0, offset - private), left, search)
            rows += [_row(conversation, private=False) for conversation in saved]
        return rows

    def _private_count(self, search: str) -> int:
        return 0 if self._private is None else conversations.count(self._private.db, search)

    async def close(self) -> None:
        """Give the engine back and close the files."""
        await self.client.close()
        for log in (self._private, self.saved):
            if log is not None:
                log.db.close()


def _row(conversation: Conversation, *, private: bool) -> ConversationRow:
    title = conversation.title
    return ConversationRow(conversation.id, title, conversation.updated_ms, conversation.pinned, private)


def open_logs(paths: Paths, settings: Settings, engine: Endpoint | None) -> Logs:
    """The user's log, brought in order, with a client for its replies. Raises `StoreError` where it can't be opened."""
    db = open_database(paths.database)
    try:
        messages.mark_interrupted(db)
        importing.take_out_left(db)
        deletion.purge_hidden(db, older_than_ms=UNDO_FOR_MS)
    except BaseException:
        db.close()
        raise
    return Logs(db, Client(paths, settings, engine=engine), Library(paths.templates), paths, settings)


def check_log(paths: Paths) -> None:
    """Raise `DatabaseDamaged` where the log is not sound. A log too large to be read at every start is left to
    `assistant doctor`; damage in it still shows as soon as it is met."""
    if paths.database.stat().st_size > CHECKED_BYTES:
        return
    with closing(open_database(paths.database)) as db:
        troubles = check(db)
    if troubles:
        raise DatabaseDamaged(f"The log {paths.database} is damaged: {troubles[0]}.")
