"""SQLite's and the system's complaints about the log, as errors that say what to do. The one place that knows them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assistant.errors import DatabaseDamaged, DatabaseUnwritable, StoreError

BUSY_TIMEOUT_MS = 5000
"""How long a write waits for another program's write. Ours take a few milliseconds each."""

ELSEWHERE = "or set ASSISTANT_HOME to a folder that is."

_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Raise a kind of `StoreError` for whatever goes wrong with `path` inside. Mistakes of ours pass as they are."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        raise _explanation(error, path) from error
    except OSError as error:
        raise DatabaseUnwritable(
            f"The log {path} can't be written: {error.strerror}. Mend that, {ELSEWHERE}"
        ) from error


def _explanation(error: sqlite3.DatabaseError, path: Path | str) -> StoreError:
    code = primary_code(error)
    # Python itself complains, without a code, of text that is no UTF-8: such a row was never written by us.
    if code in _DAMAGED or "decode to UTF-8" in str(error):
        return DatabaseDamaged(
            f"The log {path} is damaged ({error}). `assistant` sets it aside and recovers what can be read."
        )
    if code == sqlite3.SQLITE_FULL:
        return DatabaseUnwritable(f"The disk that holds {path} is full. Free some space and try again.")
    if code in _UNWRITABLE:
        return DatabaseUnwritable(f"The log {path} can't be written ({error}). Make it writable, {ELSEWHERE}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"Another program has kept the log {path} locked for {BUSY_TIMEOUT_MS // 1000} s. Try again.")
    return StoreError(f"The log {path} can't be used: {error}.")


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension (https://sqlite.org/rescode.html); 0 for a complaint of Python's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
