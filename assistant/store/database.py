"""Opening the log, safely: one SQLite file in WAL mode, private to the user, backed up before its schema changes."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database

from assistant.errors import DatabaseDamaged, DatabaseTooNew, DatabaseUnwritable, StoreError
from assistant.store.migrations import migrations

BUSY_TIMEOUT_MS = 5000
"""How long a write waits for another program's write. Ours take a few milliseconds each."""


def open_database(path: Path) -> Database:
    """The log at `path`, made if there is none, brought up to this version's schema.

    Raises `DatabaseDamaged`, `DatabaseTooNew` or `DatabaseUnwritable`; the file is left as it is.
    """
    with explained(path):
        _make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
        try:
            return _prepared(connection, path)
        except BaseException:
            connection.close()
            raise


def open_memory() -> Database:
    """A log of the same schema that leaves no trace on disk."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA temp_store = MEMORY")
    return _prepared(connection, None)


def _prepared(connection: sqlite3.Connection, path: Path | None) -> Database:
    db = Database(connection)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    _refuse_newer(db, path)
    if not migrations.pending(db):
        return db
    if path is not None and db.table_names():
        backup(db, path.with_name(f"{path.stem}.before-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}"))
    with transaction(db):  # two programs may open a new file at once: the second one finds nothing left to do
        migrations.apply(db)
    return db


def _make_private(path: Path) -> None:
    """Make the file before SQLite does, so that it is never readable by others; its -wal and -shm copy its mode."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    elif not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise DatabaseUnwritable(f"The log {path} is read-only. Make the file and its folder writable, {_ELSEWHERE}")


def _refuse_newer(db: Database, path: Path | None) -> None:
    known = {step.name for step in migrations._migrations}
    if unknown := [step.name for step in migrations.applied(db) if step.name not in known]:
        raise DatabaseTooNew(
            f"The log {path} was written by a newer version of this program (it has {unknown[0]!r}). "
            "Install that version, or set ASSISTANT_HOME to another folder."
        )


_ELSEWHERE = "or set ASSISTANT_HOME to a folder that is."


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Turn SQLite's and the system's complaints about `path` into errors that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _explain(error, path) from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise DatabaseDamaged(
            f"The log {path} is damaged ({error}). `assistant` sets it aside and recovers what can be read."
        ) from error
    except OSError as error:
        raise DatabaseUnwritable(
            f"The log {path} can't be written: {error.strerror}. Mend that, {_ELSEWHERE}"
        ) from error


def _explain(error: sqlite3.OperationalError, path: Path | str) -> StoreError:
    said = str(error)
    if "full" in said:
        return DatabaseUnwritable(f"The disk that holds {path} is full. Free some space and try again.")
    if "readonly" in said or "unable to open" in said or "disk I/O" in said:
        return DatabaseUnwritable(f"The log {path} can't be written ({said}). Make it writable, {_ELSEWHERE}")
    if "locked" in said or "busy" in said:
        return StoreError(f"Another program has kept the log {path} locked for {BUSY_TIMEOUT_MS // 1000} s. Try again.")
    return StoreError(f"The log {path} can't be used: {said}.")


@contextmanager
def transaction(db: Database) -> Iterator[None]:
    """All or nothing. The write lock is taken at once, so that a read inside can't be outdated when it writes."""
    if db.conn.in_transaction:
        yield
        return
    with explained(path_of(db)):
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.conn.execute("COMMIT")
        except BaseException:
            if db.conn.in_transaction:
                db.conn.execute("ROLLBACK")
            raise


def path_of(db: Database) -> str:
    """The file behind `db`, for messages."""
    return db.conn.execute("PRAGMA database_list").fetchone()[2] or "in memory"


def changes_elsewhere(db: Database) -> int:
    """A number that is another one as soon as another connection has changed the log."""
    return int(db.conn.execute("PRAGMA data_version").fetchone()[0])


def check(db: Database) -> list[str]:
    """What SQLite finds wrong with the file; empty when it is sound."""
    try:
        troubles = [row[0] for row in db.conn.execute("PRAGMA quick_check") if row[0] != "ok"]
        orphans = db.conn.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return troubles + [f"row {row[1]} of {row[0]} points to a {row[2]} that is gone" for row in orphans]


def backup(db: Database, to: Path) -> None:
    """A whole copy of the log at `to`, private to the user, taken while others may write."""
    with explained(to):
        os.close(os.open(to, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(to)) as target:
            db.conn.backup(target)
