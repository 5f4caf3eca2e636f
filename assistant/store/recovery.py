"""A damaged log: set aside, never overwritten, and what can be read of it copied into a new one."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from assistant.errors import DatabaseDamaged
from assistant.store.database import execute, free_name, open_database, select, transaction
from assistant.store.schema.derived import distrust_vectors, is_derived, rebuild
from assistant.store.sqlite_errors import explained


@dataclass(frozen=True, slots=True)
class Recovered:
    """What could be read again."""

    conversations: int
    messages: int
    lost_stretches: int
    """Places where rows could not be read; each may hide any number of them."""


def set_aside(path: Path) -> Path:
    """Move the log and its side files to a new name beside it, and tell which."""
    aside = free_name(path, "damaged")
    with explained(path):
        for suffix in ("-wal", "-shm", ""):
            side = path.with_name(path.name + suffix)
            if side.exists():
                side.rename(aside.with_name(aside.name + suffix))
    return aside


def recover(damaged: Path, into: Path) -> Recovered:
    """Copy every row of `damaged` that can be read into a new log at `into`, which must not exist yet.

    `into` appears when all is copied, never half of it. Raises `DatabaseDamaged` where nothing at all can be read.
    """
    _refuse_existing(into)
    new = free_name(into, "recovering")
    try:
        with closing(open_database(new)) as db, explained(damaged), closing(_source(damaged)) as source:
            found = _copy_all(source, db, damaged)
        _refuse_existing(into)  # another window may have made one meanwhile
        with explained(into):
            new.rename(into)
        with closing(open_database(into)) as db:
            distrust_vectors(db)
    except BaseException:
        for suffix in ("", "-wal", "-shm"):
            new.with_name(new.name + suffix).unlink(missing_ok=True)
        raise
    return found


def _refuse_existing(into: Path) -> None:
    if into.exists():
        raise DatabaseDamaged(f"{into} exists already; move it away first, so that nothing is overwritten.")


def _source(damaged: Path) -> sqlite3.Connection:
    source = sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)
    source.execute("PRAGMA writable_schema = ON")  # else SQLite refuses all of a file that is shorter than it should be
    source.execute("PRAGMA cell_size_check = ON")
    source.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return source


def _copy_all(source: sqlite3.Connection, db: Database, damaged: Path) -> Recovered:
    tables = [
        name for name in db.table_names() if not name.startswith(("sqlite_", "_sqlite_")) and not is_derived(name)
    ]
    kinds = [table for table in tables if _count(db, table)]  # filled by the schema itself
    tables = [table for table in tables if table not in kinds]
    db.conn.execute("PRAGMA foreign_keys = OFF")  # rows come in any order, and what they refer to may be lost
    with transaction(db):
        lost = sum(_copy(source, db, table, kinds) for table in tables)
        if lost and not any(_count(db, table) for table in tables):
            raise DatabaseDamaged(f"Nothing could be read of {damaged}. It is kept as it is.")
        _mend(db)
        rebuild(db)
    return Recovered(_count(db, "conversations"), _count(db, "messages"), lost)


def _count(db: Database, table: str) -> int:
    return int(select(db, f"SELECT count(*) FROM {table}")[0][0])


_KINDS: dict[str, type | tuple[type, ...]] = {"INTEGER": int, "TEXT": str, "REAL": (int, float), "BLOB": bytes}


def _copy(source: sqlite3.Connection, db: Database, table: str, kinds: Sequence[str]) -> int:
    """Copy the readable rows of one table; how many stretches could not be read."""
    try:
        there = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except sqlite3.DatabaseError:
        there = set()
    # A log of an older version has fewer columns: the new ones take their defaults.
    columns = {row[1]: _KINDS[row[2]] for row in select(db, f"PRAGMA table_info({table})") if row[1] in there}
    if not columns:
        return 1
    known = _known(db, table, kinds)
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    lost = 0
    for row in _readable(source, f"SELECT rowid, {', '.join(columns)} FROM {table}", table):
        # A damaged page can hold anything.
        if row is None or not _fits(row[1:], list(columns.values())) or not _is_known(row[1:], list(columns), known):
            lost += 1
            continue
        try:
            execute(db, insert, row[1:])
        except sqlite3.IntegrityError:
            lost += 1
    return lost


def _fits(values: tuple[Any, ...], kinds: list[type | tuple[type, ...]]) -> bool:
    return all(value is None or isinstance(value, kind) for value, kind in zip(values, kinds, strict=True))


def _known(db: Database, table: str, kinds: Sequence[str]) -> dict[str, set[Any]]:
    """Columns that name a kind -> the kinds there are."""
    references = select(db, f"PRAGMA foreign_key_list({table})")
    return {
        column: {row[0] for row in select(db, f"SELECT {key} FROM {kind}")}
        for _, _, kind, column, key, *_ in references
        if kind in kinds
    }


def _is_known(values: tuple[Any, ...], columns: list[str], known: dict[str, set[Any]]) -> bool:
    return all(value in known[column] for column, value in zip(columns, values, strict=True) if column in known)


def _readable(source: sqlite3.Connection, query: str, table: str) -> Iterator[tuple[Any, ...] | None]:
    """Every row that can be read, and None for each stretch between them that can't.

    Where reading stops, the row ids that are left are halved until those that can't be read stand alone.
    """
    stretches = [(-(2**63), _last_rowid(source, table))]
    lost = False
    while stretches:
        first, last = stretches.pop()
        try:
            for row in source.execute(f"{query} WHERE rowid BETWEEN ? AND ? ORDER BY rowid", (first, last)):
                lost, first = False, row[0] + 1
                yield row
        except sqlite3.DatabaseError:
            if not lost:
                yield None
            lost = True
            first = max(first, 0)  # ids of ours are never negative
            if first < last:
                middle = (first + last) // 2
                stretches += [(middle + 1, last), (first, middle)]


def _last_rowid(source: sqlite3.Connection, table: str) -> int:
    """The greatest row id, from the table's end or, where that can't be read, from SQLite's own note of it."""
    asked: list[Callable[[], sqlite3.Cursor]] = [
        lambda: source.execute(f"SELECT max(rowid) FROM {table}"),
        lambda: source.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)),
    ]
    for ask in asked:
        with suppress(sqlite3.DatabaseError):
            if row := ask().fetchone():
                return int(row[0] or 0)
    return 0


def _mend(db: Database) -> None:
    """Make the copy sound: rows that refer to lost ones are attached to what is there, or dropped."""
    execute(
        db,
        "INSERT INTO conversations (id, title, title_is_automatic, created_ms, updated_ms) "
        "SELECT conversation_id, 'Recovered', 0, min(created_ms), max(created_ms) FROM messages "
        "WHERE conversation_id NOT IN (SELECT id FROM conversations) GROUP BY conversation_id",
    )
    # A message answers an older one of its conversation; anything else could close a circle.
    execute(
        db,
        "UPDATE messages SET parent_id = (SELECT m.id FROM messages m WHERE m.id < messages.id "
        "AND m.conversation_id = messages.conversation_id ORDER BY m.id DESC LIMIT 1) "
        "WHERE parent_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM messages p WHERE p.id = messages.parent_id "
        "AND p.id < messages.id AND p.conversation_id = messages.conversation_id)",
    )
    execute(
        db,
        "INSERT INTO provenances "
        "(id, model, model_hash, adapter_hash, template_hash, sampling, inputs, version, device) "
        "SELECT DISTINCT provenance_id, '', '', '', 'lost ' || provenance_id, '{}', '{}', '', '' FROM outcomes "
        "WHERE provenance_id NOT IN (SELECT id FROM provenances)",
    )
    execute(
        db,
        "INSERT OR IGNORE INTO templates SELECT DISTINCT template_hash, 'lost', '', 0 FROM provenances "
        "WHERE template_hash NOT IN (SELECT hash FROM templates)",
    )
    execute(
        db,
        "UPDATE conversations SET leaf_id = (SELECT max(id) FROM messages WHERE conversation_id = conversations.id) "
        "WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = leaf_id AND m.conversation_id = conversations.id)",
    )
    for table, column in [("conversations", "inputs"), ("conversations", "sampling"), ("replies", "sampling")]:
        execute(
            db,
            f"UPDATE {table} SET {column} = '{{}}' "
            f"WHERE CASE WHEN json_valid({column}) THEN json_type({column}) END IS NOT 'object'",
        )
    while orphans := select(db, "PRAGMA foreign_key_check"):
        for table, rowid, *_ in orphans:
            execute(db, f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
