"""Which adapters are registered, and which is in use for a model, by the standard library alone.

The engine process asks this at each request, long before it could have imported sqlite-utils.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.store.sqlite_errors import BUSY_TIMEOUT_MS, explained


@dataclass(frozen=True, slots=True)
class Registered:
    """An adapter as far as it takes to choose it. `name`: that of its folder; `model`: its base."""

    hash: str
    name: str
    model: str


_FIND = "SELECT hash, name, model FROM adapters WHERE "
_NEWEST = " ORDER BY created_ms DESC, rowid DESC"


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads the log at `path`; an empty one where there is none. Raises `StoreError`."""
    with explained(path):
        place = f"{path.absolute().as_uri()}?mode=rw" if path.exists() else ":memory:"
        with closing(sqlite3.connect(place, timeout=BUSY_TIMEOUT_MS / 1000, uri=True)) as connection:
            yield connection


def in_use_hash(connection: sqlite3.Connection, model: str) -> str:
    """Of the adapter that new replies of a model are made with; empty for the base alone."""
    rows = _rows(connection, "SELECT adapter_hash FROM promotions WHERE model = ? ORDER BY id DESC LIMIT 1", (model,))
    return str(rows[0][0]) if rows else ""


def of_model(connection: sqlite3.Connection, model: str) -> list[Registered]:
    """The adapters of a model, the newest first."""
    return [Registered(*row) for row in _rows(connection, f"{_FIND}model = ?{_NEWEST}", (model,))]


def of_hash(connection: sqlite3.Connection, hash_: str) -> Registered | None:
    """The adapter of that hash."""
    rows = _rows(connection, f"{_FIND}hash = ?", (hash_,))
    return Registered(*rows[0]) if rows else None


def of_name(connection: sqlite3.Connection, name: str) -> list[Registered]:
    """The adapters of that name, whatever their model, the newest first."""
    return [Registered(*row) for row in _rows(connection, f"{_FIND}name = ?{_NEWEST}", (name,))]


def _rows(connection: sqlite3.Connection, sql: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
    """None of a log that has no such table yet: it is empty, or a window is just making it."""
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
