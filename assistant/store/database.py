"""Opening the log, safely: one SQLite file in WAL mode, private to the user, backed up before its schema changes."""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from assistant import __version__
from assistant.errors import DatabaseTooNew, DatabaseUnwritable
from assistant.store.schema import earlier
from assistant.store.schema.migrations import migrations
from assistant.store.schema.sql_functions import register
from assistant.store.sqlite_errors import BUSY_TIMEOUT_MS, ELSEWHERE, explained, primary_code

CACHE_KIB = 64_000
"""Pages kept in memory, taken as they are needed. SQLite's own 2 MB don't hold the exchanges of a large log."""

PAGE_BYTES = 8192
"""Texts leave less of such a page empty than of SQLite's own 4096: the file is a twentieth smaller. Larger pages would
make more to write of each message."""

TRY_AGAIN_S = 0.004
"""How often whoever waits for the write lock looks whether it is free."""


def open_database(path: Path) -> Database:
    """The log at `path`, made if there is none, brought up to this version's schema.

    A log of an earlier schema is copied to `log.before-VERSION-TIME.db` beside it first. Raises `DatabaseDamaged`,
    `DatabaseTooNew` or `DatabaseUnwritable`; the file is left as it is.
    """
    with explained(path):
        _make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
        try:
            db = Database(connection)
            _refuse_newer(db, path)
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; of an old one when it is vacuumed
            _use_wal(connection)
            _prepare(db, path)
        except BaseException:
            connection.close()
            raise
    return db


def open_memory() -> Database:
    """A log of the same schema that leaves no trace on disk."""
    db = Database(sqlite3.connect(":memory:", isolation_level=None))
    db.conn.execute("PRAGMA temp_store = MEMORY")
    _prepare(db, None)
    return db


def open_scratch() -> Database:
    """A log of the same schema for one piece of work: in memory as far as `CACHE_KIB` reach, beyond that in an unnamed
    file, which is gone when it is closed.
    """
    db = Database(sqlite3.connect("", isolation_level=None))
    db.conn.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    _prepare(db, None)
    for setting in ("journal_mode = MEMORY", "synchronous = OFF", "secure_delete = OFF"):
        db.conn.execute(f"PRAGMA {setting}")
    return db


def _make_private(path: Path) -> None:
    """Make the file before SQLite does, so that it is never readable by others; its -wal and -shm copy its mode."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    elif not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise DatabaseUnwritable(f"The log {path} is read-only. Make the file and its folder writable, {ELSEWHERE}")
    elif path.stat().st_mode & 0o077:  # a copy put back by hand
        path.chmod(0o600)


def _refuse_newer(db: Database, path: Path) -> None:
    known = {step.name for step in migrations._migrations} | earlier.STEPS
    if unknown := [step.name for step in migrations.applied(db) if step.name not in known]:
        raise DatabaseTooNew(
            f"The log {path} was written by a newer version of this program (it has {unknown[0]!r}). "
            "Install that version, or set ASSISTANT_HOME to another folder."
        )


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. Where two programs switch a new file at once SQLite refuses one without waiting, so we wait."""
    give_up = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _prepare(db: Database, path: Path | None) -> None:
    register(db.conn)
    db.conn.execute("PRAGMA secure_delete = ON")
    db.conn.execute("PRAGMA synchronous = NORMAL")
    db.conn.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    if migrations.pending(db):
        _migrate(db, path)
    # Only now: a step that rebuilds a table drops the old one, which must not delete what refers to it.
    db.conn.execute("PRAGMA foreign_keys = ON")


def _migrate(db: Database, path: Path | None) -> None:
    """Back up what there is, then bring it up to date. The lock is taken first: of two programs one does both."""
    db.conn.execute("PRAGMA foreign_keys = OFF")
    with transaction(db):
        if not migrations.pending(db):
            return
        if path is not None and db.table_names():
            # The lock's own connection can't be copied from; a second one reads what was committed before it.
            with closing(sqlite3.connect(path)) as before:
                backup(Database(before), free_name(path, f"before-{__version__}"))
        if earlier.is_earlier(db, path):
            earlier.bring_over(db)
        migrations.apply(db)


def free_name(path: Path, label: str) -> Path:
    """A name beside `path` that no file has: `log.LABEL-20261123-172433.db`, numbered where that is taken."""
    stem = f"{path.stem}.{label}-{time.strftime('%Y%m%d-%H%M%S')}"
    name, number = path.with_name(f"{stem}{path.suffix}"), 1
    while name.exists():
        number += 1
        name = path.with_name(f"{stem}-{number}{path.suffix}")
    return name


@contextmanager
def transaction(db: Database) -> Iterator[None]:
    """All or nothing. The write lock is taken at once, so that a read inside can't be outdated when it writes."""
    if db.conn.in_transaction:
        yield
        return
    with explained(path_of(db)):
        _begin(db.conn)
        try:
            yield
            db.conn.execute("COMMIT")
        except BaseException:
            if db.conn.in_transaction:
                db.conn.execute("ROLLBACK")
            raise


def _begin(connection: sqlite3.Connection) -> None:
    """Take the write lock, waiting as long as the connection's busy timeout says: 5 s while another program writes.
    So whoever writes for a screen writes in a thread.

    SQLite itself looks every tenth of a second at last, and would miss the moments in which an import lets others in.
    """
    timeout_ms = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    give_up = time.monotonic() + timeout_ms / 1000
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(TRY_AGAIN_S)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")


def execute(db: Database, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Run one statement that writes, in the transaction there is or in its own."""
    with transaction(db):
        cursor: sqlite3.Cursor = db.conn.execute(sql, _storable(values))
    return cursor


def execute_many(db: Database, sql: str, rows: Iterable[Sequence[Any]]) -> None:
    """Run one statement that writes for each of `rows`, in the transaction there is or in its own."""
    with transaction(db):
        db.conn.executemany(sql, map(_storable, rows))


def select(db: Database, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of one query. Read to the end at once: a query left open would hold up checkpoints."""
    with explained(path_of(db)):
        rows: list[tuple[Any, ...]] = db.conn.execute(sql, _storable(values)).fetchall()
    return rows


def _storable(values: Sequence[Any]) -> list[Any]:
    """`values` with lone surrogates in texts replaced, which UTF-8 can't hold; halves of one character are joined."""
    return [
        value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if isinstance(value, str) and not value.isascii()
        else value
        for value in values
    ]


def path_of(db: Database) -> str:
    """The file behind `db`, for messages."""
    return _file(db) or "in memory"


def is_private(db: Database) -> bool:
    """Whether no other program can open it."""
    return not _file(db)


def _file(db: Database) -> str:
    return str(db.conn.execute("PRAGMA database_list").fetchone()[2])


def changes_elsewhere(db: Database) -> int:
    """A number that is another one as soon as another connection has changed the log."""
    return int(select(db, "PRAGMA data_version")[0][0])


def check(db: Database) -> list[str]:
    """What SQLite finds wrong with the file; empty when it is sound."""
    try:
        troubles = [row[0] for row in db.conn.execute("PRAGMA quick_check") if row[0] != "ok"]
        orphans = db.conn.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return troubles + [f"row {row[1]} of {row[0]} points to a {row[2]} that is gone" for row in orphans]


def backup(db: Database, to: Path) -> None:
    """A whole copy of the log at `to`, private to the user, taken while others may write.

    Raises `DatabaseUnwritable`, also where `to` exists already; a copy that could not be finished is not left behind.
    """
    with explained(to):
        os.close(os.open(to, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600))
        try:
            with closing(sqlite3.connect(to)) as target:
                db.conn.backup(target)
        except BaseException:
            to.unlink()
            raise
