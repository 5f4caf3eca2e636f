"""Keeping the log well: put a backup back, take out what is free, tell what is in it."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from assistant.errors import DatabaseDamaged, StoreError
from assistant.ratings import BAD, GOOD
from assistant.store.database import PAGE_BYTES, backup, check, free_name, open_database, path_of, select
from assistant.store.schema import derived
from assistant.store.sqlite_errors import explained


def troubles(db: Database) -> list[str]:
    """All that is wrong with the log: its file, its references, and what is derived. Empty when it is sound."""
    return check(db) or derived.troubles(db)


def restore(db: Database, source: Path) -> Path:
    """Put the backup `source` in place of all that is in the log. The name of a backup of what there was.

    All or nothing, also for other programs that have the log open: it is one transaction. An older backup is brought up
    to this version's schema. Raises `StoreError` where there is no such file, `DatabaseDamaged` where it is not sound.
    """
    if not source.is_file():
        raise StoreError(f"There is no backup {source}.")
    file = Path(path_of(db))
    new, kept = free_name(file, "restoring"), free_name(file, "before-restore")
    try:
        with closing(_sound_copy(source, new)) as copy:
            backup(db, kept)
            _take_pages_of(db, copy)
            with explained(file):
                copy.conn.backup(db.conn)
    finally:
        for suffix in ("", "-wal", "-shm"):
            new.with_name(new.name + suffix).unlink(missing_ok=True)
    select(db, "PRAGMA wal_checkpoint(TRUNCATE)")
    derived.distrust_vectors(db)
    return kept


def _sound_copy(source: Path, new: Path) -> Database:
    """An opened copy of `source` at `new`, in this version's schema."""
    with explained(source), closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone():
            raise DatabaseDamaged(f"{source} is no log of this program.")
        backup(Database(connection), new)
    copy = open_database(new)
    if found := troubles(copy):
        copy.close()
        raise DatabaseDamaged(f"The backup {source} is damaged ({found[0]}). Choose another; the log is as it was.")
    return copy


def _take_pages_of(db: Database, copy: Database) -> None:
    """Give `copy`, which nobody else has open, the page size of `db`: SQLite puts back none of another."""
    wanted = select(db, "PRAGMA page_size")[0][0]
    if wanted != select(copy, "PRAGMA page_size")[0][0]:
        select(copy, "PRAGMA journal_mode = DELETE")
        select(copy, f"PRAGMA page_size = {wanted}")
        copy.conn.execute("VACUUM")


def _vacuum_to_new_pages(db: Database) -> None:
    select(db, f"PRAGMA page_size = {PAGE_BYTES}")
    try:
        db.conn.execute("VACUUM")  # into the file itself: there is no -wal
    finally:
        select(db, "PRAGMA journal_mode = WAL")


def _alone(db: Database) -> bool:
    """Leave WAL, in which the page size can't change. False, and still in it, where another program has the log."""
    try:
        return bool(db.conn.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete")
    except sqlite3.OperationalError:
        return False


def vacuum(db: Database) -> tuple[int, int]:
    """Bytes of the file before and after what is free was taken out of it. Deleted words leave the index too.

    A log of an earlier version gets pages of today's size, unless another program has it open. Takes twice the
    file's size on the disk while it runs.
    """
    file = Path(path_of(db))
    select(db, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.stat().st_size
    derived.forget(db)
    derived.forget_vectors(db)
    with explained(file):
        if select(db, "PRAGMA page_size")[0][0] != PAGE_BYTES and _alone(db):
            _vacuum_to_new_pages(db)
        else:
            db.conn.execute("VACUUM")
            select(db, "PRAGMA wal_checkpoint(TRUNCATE)")
    return before, file.stat().st_size


@dataclass(frozen=True, slots=True)
class Stats:
    """What is in a log."""

    conversations: int
    messages: int
    replies: int
    text_bytes: int
    file_bytes: int
    good: int
    bad: int
    kept: int
    skipped: int
    corrections: int
    votes: int
    tagged: int
    models: dict[str, int]
    """Replies of each model, the most first."""


def stats(db: Database) -> Stats:
    """What is in the log, hidden conversations left out. Reads all of it once."""
    one = "SELECT count(*) FROM exchanges WHERE hidden = 0"
    conversations, messages, text = select(
        db,
        "SELECT count(DISTINCT c.id), count(*), coalesce(sum(length(CAST(m.content AS BLOB))), 0) FROM messages m "
        "JOIN conversations c ON c.id = m.conversation_id WHERE c.deleted_ms IS NULL",
    )[0]
    counts = select(
        db,
        f"SELECT ({one}), ({one} AND rating = {GOOD.number}), ({one} AND rating = {BAD.number}), "
        f"({one} AND decision = 'keep'), "
        "(SELECT count(*) FROM exchanges WHERE hidden = 0 AND decision = 'skip'), "
        "(SELECT count(*) FROM messages WHERE corrects_id IS NOT NULL), (SELECT count(*) FROM preferences), "
        f"({one} AND tags <> '')",
    )[0]
    replies, good, bad, kept, skipped, corrections, votes, tagged = counts
    models = select(
        db, "SELECT model, count(*) FROM exchanges WHERE hidden = 0 GROUP BY model ORDER BY count(*) DESC, model"
    )
    path = path_of(db)
    return Stats(
        conversations=conversations,
        messages=messages,
        replies=replies,
        text_bytes=text,
        file_bytes=Path(path).stat().st_size if path != "in memory" else 0,
        good=good,
        bad=bad,
        kept=kept,
        skipped=skipped,
        corrections=corrections,
        votes=votes,
        tagged=tagged,
        models=dict(models),
    )
