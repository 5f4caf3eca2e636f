"""A SQLite file of another program, opened for reading only. Nothing in its schema is trusted."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import ImportRefused
from assistant.store.files.transcript import LeftOut, Transcript

Row = tuple[Any, ...]
Tables = Mapping[str, frozenset[str]]
"""The names of the tables, and of the columns of each."""


@dataclass(frozen=True, slots=True)
class DatabaseFormat:
    """A program that keeps its conversations in SQLite."""

    name: str
    program: str
    matches: Callable[[Tables], bool]
    read: Callable[[sqlite3.Connection], Iterator[Transcript | LeftOut]]
    grows: bool = False


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, read-only. Raises `ImportRefused` where SQLite can't read it."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            db.text_factory = lambda raw: raw.decode("utf-8", "replace")
            yield db
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite's own complaint may quote damaged bytes
        raise ImportRefused(f"{path} can't be read as a database of chats: {error}. Nothing was imported.") from error


def tables(db: sqlite3.Connection) -> Tables:
    """What is in the file."""
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: _columns_of(db, name) for name in names}


def columns(db: sqlite3.Connection, table: str, wanted: Sequence[str]) -> str:
    """The columns of a table for a query, NULL for those that this version of it doesn't have."""
    there = _columns_of(db, table)
    return ", ".join(f"{table}.{name}" if name in there else f"NULL AS {name}" for name in wanted)


def text_of(value: object) -> str:
    """A column as text: SQLite lets any column hold anything."""
    return value if isinstance(value, str) else "" if value is None or isinstance(value, bytes) else str(value)


def _columns_of(db: sqlite3.Connection, table: str) -> frozenset[str]:
    quoted = table.replace('"', '""')
    return frozenset(row[1] for row in db.execute(f'PRAGMA table_info("{quoted}")'))
