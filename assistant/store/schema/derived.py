"""What is derived from messages, replies and judgements: exchanges and the index of words. Triggers keep both up to
date; here they are made anew, checked and cleaned."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.database import execute, select, transaction

TABLES = ("exchanges", "messages_words", "meaning_stale", "doubles")
"""Not to be copied out of a damaged log, as they can be made again; the second stands for its shadow tables too."""


def is_derived(table: str) -> bool:
    """Whether a table holds nothing of its own."""
    return table.startswith(TABLES)


def rebuild(db: Database) -> None:
    """Make both again from what they are derived from."""
    with transaction(db):
        execute(db, "DELETE FROM exchanges")
        execute(db, "INSERT INTO exchanges SELECT * FROM derived_exchanges")
        execute(db, "INSERT INTO messages_words (messages_words) VALUES ('delete-all')")
        execute(
            db,
            "INSERT INTO messages_words (rowid, text) SELECT id, words(content) FROM messages WHERE state <> 'growing'",
        )


@contextmanager
def rebuilt_after(db: Database) -> Iterator[None]:
    """Messages that are added meanwhile are put into both at the end, all at once: twice as fast as one by one.

    For a log that nobody else reads: until then it says less than it holds.
    """
    (trigger,) = select(db, "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'messages_added'")
    execute(db, "DROP TRIGGER messages_added")
    try:
        yield
    finally:
        execute(db, *trigger)
        rebuild(db)


MERGED_PAGES = 500
"""One step of `forget`: some 20 ms."""


def forget(db: Database, *, within_s: float | None = None) -> bool:
    """Take the words of deleted messages out of the index's pages too, where until then they are only marked as gone.

    Reads and writes the whole index: a third of a second for each 10 MB of text. With `within_s` it is broken off and
    False returned; `go_on_forgetting` does more another time.
    """
    if within_s is None:
        execute(db, "INSERT INTO messages_words (messages_words) VALUES ('optimize')")
        execute(db, "DELETE FROM state WHERE key = 'forgetting'")
        return True
    execute(db, "INSERT OR REPLACE INTO state (key, value) VALUES ('forgetting', '1')")
    return _merge(db, -MERGED_PAGES, within_s)


def go_on_forgetting(db: Database, *, within_s: float) -> bool:
    """Do more of what `forget` left. True when nothing is left."""
    return not select(db, "SELECT 1 FROM state WHERE key = 'forgetting'") or _merge(db, MERGED_PAGES, within_s)


def _merge(db: Database, pages: int, within_s: float) -> bool:
    """A negative number of pages begins a merge of the whole index, a positive one goes on with it."""
    until = time.monotonic() + within_s
    while True:
        before = db.conn.total_changes
        execute(db, "INSERT INTO messages_words (messages_words, rank) VALUES ('merge', ?)", (pages,))
        if db.conn.total_changes - before < 2:  # https://sqlite.org/fts5.html#the_merge_command
            execute(db, "DELETE FROM state WHERE key = 'forgetting'")
            return True
        if time.monotonic() > until:
            return False
        pages = abs(pages)


def forget_vectors(db: Database) -> None:
    """Take the vectors of deleted messages out of their file."""
    if select(db, "SELECT 1 FROM meaning_stale LIMIT 1"):
        from assistant.store.meaning import embedding_queue  # numpy, which nothing else here needs

        embedding_queue.forget(db)


def distrust_vectors(db: Database) -> None:
    """The log is another one than it was: compare the vectors with it again, if there are any."""
    from assistant.store.meaning import embedding_queue

    embedding_queue.distrust(db)


def troubles(db: Database) -> list[str]:
    """In what way exchanges or index differ from what they are derived from; empty when they are sound."""
    found = []
    told, kept = "SELECT * FROM derived_exchanges", "SELECT * FROM exchanges"
    for one, other in ((told, kept), (kept, told)):
        if rows := select(db, f"SELECT message_id FROM ({one} EXCEPT {other}) LIMIT 3"):
            found.append(f"the exchange of message {rows[0][0]} is not as the log tells it")
    try:
        execute(db, "INSERT INTO messages_words (messages_words) VALUES ('integrity-check')")
    except StoreError as error:
        found.append(f"the index of words is damaged ({error})")
    return found
