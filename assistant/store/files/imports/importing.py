"""The journal of an import that is under way, which makes it all or nothing without holding up other programs.

An import writes a few hundred messages at a time and lets others write between. The journal names what has come in;
when the import ends its page is empty, and when it fails or its program dies all that it names is taken out again:
at once, or by the next program that opens the log. What a person has gone on with meanwhile stays.

One import runs at a time: it holds a lock on a file beside the log, which the system lets go when its program dies.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from assistant.store.database import execute, path_of, select, transaction
from assistant.store.deletion import erase, erase_last, erase_unused
from assistant.store.sqlite_errors import explained

STEP_CONVERSATIONS = 50
"""So many are taken out at once."""
LOOK_AGAIN_S = 0.1


@contextmanager
def journal(db: Database) -> Iterator[None]:
    """Take out what was noted inside if it fails. Waits for another import to end."""
    with _alone(db, wait=True):
        take_out(db)
        try:
            yield
        except BaseException:
            take_out(db)
            raise
        execute(db, "DELETE FROM importing")


def note(db: Database, conversations: tuple[int, int], messages: tuple[int, int]) -> None:
    """Name what comes in, in the transaction in which it does: the first and the last id of both."""
    execute(
        db,
        "INSERT INTO importing (first_id, last_id, first_message_id, last_message_id) VALUES (?, ?, ?, ?)",
        (*conversations, *messages),
    )


def take_out_left(db: Database) -> None:
    """Take out what an import left whose program died. For the start of a program."""
    if select(db, "SELECT 1 FROM importing LIMIT 1"):
        with _alone(db, wait=False) as alone:
            if alone:
                take_out(db)


def take_out(db: Database) -> None:
    """Delete all that the journal names, but not what a person has gone on with."""
    query = "SELECT id, first_id, last_id, first_message_id, last_message_id FROM importing ORDER BY id DESC LIMIT 1"
    while rows := select(db, query):
        row, first_id, last_id, *added = rows[0]
        first = max(first_id, last_id - STEP_CONVERSATIONS + 1)
        with transaction(db):
            for (conversation_id,) in select(
                db,
                "SELECT id FROM conversations c WHERE id BETWEEN ? AND ? AND NOT EXISTS "
                "(SELECT 1 FROM messages m WHERE m.conversation_id = c.id AND m.source_id IS NULL)",
                (first, last_id),
            ):
                erase(db, conversation_id)
            if first <= first_id:
                _take_out_added(db, first_id, *added)
                execute(db, "DELETE FROM importing WHERE id = ?", (row,))
            else:
                execute(db, "UPDATE importing SET last_id = ? WHERE id = ?", (first - 1, row))
    with transaction(db):
        erase_unused(db)


def _take_out_added(db: Database, first_id: int, first: int, last: int) -> None:
    """Delete the messages that were added to older conversations, the last ones first."""
    for (message_id,) in select(
        db,
        "SELECT id FROM messages WHERE id BETWEEN ? AND ? AND conversation_id < ? AND source_id IS NOT NULL "
        "ORDER BY id DESC",
        (first, last, first_id),
    ):
        if not select(db, "SELECT 1 FROM messages WHERE parent_id = ?", (message_id,)):
            erase_last(db, message_id)


@contextmanager
def _alone(db: Database, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of imports; without `wait`, False where another program has it."""
    path = path_of(db)
    if path == "in memory":
        yield True
        return
    file = Path(path).with_name(f"{Path(path).name}-importing")
    with explained(file), closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as lock:
        file.chmod(0o600)
        while not (held := _locked(lock)) and wait:
            time.sleep(LOOK_AGAIN_S)
        yield held


def _locked(lock: sqlite3.Connection) -> bool:
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
