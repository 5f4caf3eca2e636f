"""The logs that a window has open: the one on disk, and one in memory as soon as something private is said."""

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from datetime import datetime
from functools import partial

from sqlite_utils import Database

from assistant.adapters.speakers import Folders, Speaker, speaker
from assistant.client import Client, Endpoint
from assistant.dialogue import reply_tokens
from assistant.dialogue.exchange import Dialogue, Step, follow_branch
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Remote
from assistant.errors import AdapterError, DatabaseDamaged, ModelError, StoreError
from assistant.events import Token
from assistant.meaning_index import keep_up
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, deletion, messages
from assistant.store.conversations import Conversation
from assistant.store.database import check, open_database, open_memory
from assistant.store.files.imports import importing
from assistant.store.training import adapters
from assistant.tui.chat.conversation_list import PAGE_ROWS, ConversationRow, Listing, listing
from assistant.tui.log_worker import LogWorker
from prompts.library import Library

UNDO_FOR_MS = 24 * 3600 * 1000
"""A deleted conversation can be brought back for this long, also from another window; then it is really gone."""

CHECKED_BYTES = 64_000_000
"""Read in a fifth of a second on a slow machine."""


class Log:
    """One log and the dialogue over it, both in the log's thread."""

    def __init__(
        self, worker: LogWorker, dialogue: Callable[[], Dialogue], registry: LogWorker, *, private: bool
    ) -> None:
        self.worker = worker
        self.private = private
        self._dialogue = dialogue
        self._registry = registry
        """Of the log in which adapters are registered."""

    def steps(self, begin: Callable[[Dialogue], AsyncGenerator[Step, None]]) -> AsyncGenerator[Step, None]:
        """The steps of an exchange, which runs in the log's thread."""
        return self.worker.stream(lambda _: begin(self._dialogue()))

    # --- in the log's thread

    def follow_branch(self, db: Database, conversation_id: int) -> None:
        """See `dialogue.follow_branch`."""
        follow_branch(db, self._registry.db(), conversation_id)

    def speaker(self, model: str, adapter: str | None) -> Speaker:
        """Who speaks in a conversation that is set to this adapter, to the base (empty), or to what is in use (None).

        Raises `AdapterError` where that can't speak for the model.
        """
        return speaker(self._registry.db().conn, model, adapter)

    def speaker_name(self, model: str, adapter: str | None) -> str:
        """Who speaks, in a word or two; empty for the base of a model that has no adapters."""
        try:
            name = self.speaker(model, adapter).name
        except AdapterError:
            return "a deleted adapter"
        return name or ("base" if adapters.every(self._registry.db(), model) else "")


class Logs:
    """Both logs as one list of conversations, private ones first. Methods are for the screen's thread."""

    def __init__(
        self,
        worker: LogWorker,
        library: Library,
        paths: Paths,
        settings: Settings,
        *,
        engine: Endpoint | None = None,
        chosen_model: str = "",
    ) -> None:
        self.paths = paths
        self.client = Client(paths, settings, engine=engine)
        self.library = library
        self.settings = settings
        self.chosen_model = chosen_model
        """The model that was chosen last, as the log remembers it."""
        self._speaking = Client(paths, settings, engine=engine)
        """The client of the log's thread: connections belong to an event loop."""
        self.saved = self._log(worker, private=False)
        self._private: Log | None = None

    def _log(self, worker: LogWorker, *, private: bool) -> Log:
        registry = self.saved.worker if private else worker

        def dialogue() -> Dialogue:
            return Dialogue(worker.db(), self._speaking, self.library, self.settings, registry=registry.db())

        return Log(worker, dialogue, registry, private=private)

    @property
    def private(self) -> Log:
        """The log in memory."""
        if self._private is None:
            self._private = self._log(self.saved.worker.beside(open_memory), private=True)
        return self._private

    def log(self, *, private: bool) -> Log:
        """One of the two."""
        return self.private if private else self.saved

    async def embed(self) -> None:
        """Embed what is said, until cancelled."""
        name = self.settings.meaning_model
        await self.saved.worker.run(lambda db: keep_up(db, self._speaking, self.paths, name))

    async def tokens(self, log: Log, message_id: int) -> list[Token]:
        """A reply's tokens with their alternatives. Raises as `reply_tokens.with_alternatives`."""
        read = reply_tokens.with_alternatives
        return await log.worker.run(lambda db: read(db, self._speaking, self.paths, message_id))

    # --- models and adapters

    def models(self) -> list[str]:
        """Names of the models that can be used now. None while a manifest is damaged: the models screen tells which."""
        try:
            return catalogue.names(self.paths)
        except ModelError:
            return []

    async def adapters(self, model: str) -> list[str]:
        """Names of the adapters that our engine can put on a model: those registered for it and those that nobody
        registered. None for a model that another server runs.
        """
        try:
            elsewhere = isinstance(catalogue.find(self.paths, model), Remote)
        except ModelError:
            return []
        if elsewhere:
            return []
        return await self.saved.worker.ask(lambda db: Folders(self.paths.adapters).names_for(db.conn, model))

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
        return self.settings.model or self.chosen_model or next(iter(self.models()), "")

    async def choose_model(self, name: str) -> None:
        """Make it the model of new conversations."""
        self.chosen_model = name
        await self.saved.worker.act(lambda db: conversations.remember(db, "model", name))

    # --- the list

    async def listing(self, search: str, now: datetime, pages: Collection[int]) -> Listing:
        """The conversations whose title holds `search`, with at least these pages of them."""

        def read(db: Database) -> Listing:
            private = self._private.worker.db() if self._private is not None else None
            before = 0 if private is None else conversations.count(private, search)
            fetch = partial(_page, db, private, before, search)
            return listing(before + conversations.count(db, search), fetch, now, pages)

        return await self.saved.worker.ask(read)

    async def page(self, number: int, search: str) -> Sequence[ConversationRow]:
        """One page of the list."""

        def read(db: Database) -> Sequence[ConversationRow]:
            private = self._private.worker.db() if self._private is not None else None
            before = 0 if private is None else conversations.count(private, search)
            return _page(db, private, before, search, number * PAGE_ROWS, PAGE_ROWS)

        return await self.saved.worker.ask(read)

    async def close(self) -> None:
        """Give the engine back and close the files."""
        await self.client.close()
        await self.saved.worker.run(lambda _: self._speaking.close())
        for log in (self._private, self.saved):
            if log is not None:
                await log.worker.close()


def _page(
    saved: Database, private: Database | None, before: int, search: str, offset: int, limit: int
) -> Sequence[ConversationRow]:
    """`limit` rows from `offset`; `before`: how many private ones come first."""
    rows: list[ConversationRow] = []
    if private is not None and offset < before:
        rows += [_row(c, private=True) for c in conversations.page(private, offset, limit, search)]
    left = limit - len(rows)
    if left > 0:
        found = conversations.page(saved, max(0, offset - before), left, search)
        rows += [_row(conversation, private=False) for conversation in found]
    return rows


def _row(conversation: Conversation, *, private: bool) -> ConversationRow:
    title = conversation.title
    return ConversationRow(conversation.id, title, conversation.updated_ms, conversation.pinned, private)


async def open_logs(paths: Paths, settings: Settings, engine: Endpoint | None) -> Logs:
    """The user's log, brought in order, with a client for its replies. Raises `StoreError` where it can't be opened."""
    worker = LogWorker(partial(_opened, paths))
    try:
        chosen = await worker.ask(lambda db: conversations.recall(db, "model"))
    except StoreError:
        await worker.close()
        raise
    return Logs(worker, Library(paths.templates), paths, settings, engine=engine, chosen_model=chosen)


def _opened(paths: Paths) -> Database:
    db = open_database(paths.database)
    try:
        _check(paths, db)
        messages.mark_interrupted(db)
        importing.take_out_left(db)
        deletion.purge_hidden(db, older_than_ms=UNDO_FOR_MS)
    except BaseException:
        db.close()
        raise
    return db


def _check(paths: Paths, db: Database) -> None:
    """Raise `DatabaseDamaged` where the log is not sound. A log too large to be read at every start is left to
    `assistant doctor`; damage in it still shows as soon as it is met."""
    if paths.database.stat().st_size <= CHECKED_BYTES and (troubles := check(db)):
        raise DatabaseDamaged(f"The log {paths.database} is damaged: {troubles[0]}.")
