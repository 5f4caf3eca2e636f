"""What is derived from messages, replies and judgements: exchanges and the index of words. Triggers keep both up to
date; here they are made anew, checked and cleaned."""

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.database import execute, select, transaction

TABLES = ("exchanges", "messages_words")
"""Not to be copied out of a damaged log, as they can be made again; the second stands for its shadow tables too."""


def is_derived(table: str) -> bool:
    """Whether a table holds nothing of its own."""
    return table.startswith(TABLES)


def rebuild(db: Database) -> None:
    """Make both again from what they are derived from."""
    with transaction(db):
        execute(db, "DELETE FROM exchanges")
        execute(db, "INSERT INTO exchanges SELECT * FROM told_exchanges")
        execute(db, "INSERT INTO messages_words (messages_words) VALUES ('delete-all')")
        execute(
            db,
            "INSERT INTO messages_words (rowid, text) SELECT id, words(content) FROM messages WHERE state <> 'growing'",
        )


def forget(db: Database) -> None:
    """Take the words of deleted messages out of the index's pages too: until then they are only marked as gone.

    Reads and writes the whole index.
    """
    execute(db, "INSERT INTO messages_words (messages_words) VALUES ('optimize')")


def troubles(db: Database) -> list[str]:
    """In what way exchanges or index differ from what they are derived from; empty when they are sound."""
    found = []
    told, kept = "SELECT * FROM told_exchanges", "SELECT * FROM exchanges"
    for one, other in ((told, kept), (kept, told)):
        if rows := select(db, f"SELECT message_id FROM ({one} EXCEPT {other}) LIMIT 3"):
            found.append(f"the exchange of message {rows[0][0]} is not as the log tells it")
    try:
        execute(db, "INSERT INTO messages_words (messages_words) VALUES ('integrity-check')")
    except StoreError as error:
        found.append(f"the index of words is damaged ({error})")
    return found
