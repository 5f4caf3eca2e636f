"""A damaged log: set aside, never overwritten, and what can be read of it copied into a new one."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from assistant.errors import DatabaseDamaged
from assistant.store.database import explained, open_database, transaction

TABLES = ["state", "templates", "conversations", "messages", "replies"]
"""In an order in which each finds what it refers to."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What could be read again."""

    conversations: int
    messages: int
    lost_stretches: int
    """Places where rows could not be read; each may hide any number of them."""


def set_aside(path: Path) -> Path:
    """Move the log and its side files to a new name beside it, and tell which."""
    aside = path.with_name(f"{path.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
    number = 1
    while aside.exists():
        number += 1
        aside = aside.with_name(f"{aside.stem.removesuffix(f'-{number - 1}')}-{number}{path.suffix}")
    with explained(path):
        for suffix in ("-wal", "-shm", ""):
            side = path.with_name(path.name + suffix)
            if side.exists():
                side.rename(aside.with_name(aside.name + suffix))
    return aside


def recover(damaged: Path, into: Path) -> Recovered:
    """Copy every readable row of `damaged` into a new log at `into`, which must not exist yet.

    Raises `DatabaseDamaged` where nothing at all can be read.
    """
    if into.exists():
        raise DatabaseDamaged(f"{into} exists already; move it away first, so that nothing is overwritten.")
    with closing(sqlite3.connect(f"file:{damaged}?mode=ro", uri=True)) as source:
        source.execute("PRAGMA cell_size_check = ON")
        source.text_factory = lambda raw: raw.decode("utf-8", "replace")
        db = open_database(into)
        try:
            lost = sum(_copy(source, db, table) for table in TABLES)
            _mend(db)
            return Recovered(_count(db, "conversations"), _count(db, "messages"), lost)
        finally:
            db.close()


def _count(db: Database, table: str) -> int:
    return int(db.conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _copy(source: sqlite3.Connection, db: Database, table: str) -> int:
    """Copy the readable rows of one table; how many stretches could not be read."""
    columns = [row[1] for row in db.conn.execute(f"PRAGMA table_info({table})")]
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    lost = 0
    db.conn.execute("PRAGMA foreign_keys = OFF")
    with transaction(db):
        for row in _readable(source, f"SELECT {', '.join(columns)}, rowid FROM {table}"):
            if row is None:
                lost += 1
                continue
            try:
                db.conn.execute(insert, row[:-1])
            except sqlite3.IntegrityError:  # a row of a damaged page can hold anything
                lost += 1
    db.conn.execute("PRAGMA foreign_keys = ON")
    return lost


def _readable(source: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...] | None]:
    """Rows in order from the front until one can't be read, then from the back; None for what lies between."""
    last = None
    try:
        for row in source.execute(f"{select} ORDER BY rowid"):
            last = row[-1]
            yield row
    except sqlite3.DatabaseError:
        yield None
    else:
        return
    after = -(2**63) if last is None else last
    try:
        for row in source.execute(f"{select} WHERE rowid > ? ORDER BY rowid DESC", (after,)):
            yield row
    except sqlite3.DatabaseError:
        return


def _mend(db: Database) -> None:
    """Make the copy sound: rows that refer to lost ones are attached to what is there, or dropped."""
    with transaction(db):
        db.conn.execute(
            "INSERT INTO conversations (id, title, title_is_automatic, created_ms, updated_ms) "
            "SELECT conversation_id, 'Recovered', 0, min(created_ms), max(created_ms) FROM messages "
            "WHERE conversation_id NOT IN (SELECT id FROM conversations) GROUP BY conversation_id"
        )
        db.conn.execute(
            "UPDATE messages SET parent_id = (SELECT max(m.id) FROM messages m WHERE m.id < messages.id "
            "AND m.conversation_id = messages.conversation_id) "
            "WHERE parent_id IS NOT NULL AND parent_id NOT IN (SELECT id FROM messages)"
        )
        db.conn.execute("DELETE FROM replies WHERE message_id NOT IN (SELECT id FROM messages)")
        db.conn.execute(
            "INSERT OR IGNORE INTO templates SELECT DISTINCT template_hash, 'lost', '', 0 FROM replies "
            "WHERE template_hash NOT IN (SELECT hash FROM templates)"
        )
        db.conn.execute(
            "UPDATE conversations SET leaf_id = "
            "(SELECT max(id) FROM messages WHERE conversation_id = conversations.id) "
            "WHERE leaf_id IS NULL OR leaf_id NOT IN (SELECT id FROM messages)"
        )
