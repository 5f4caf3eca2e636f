"""A file into the log: all of it or nothing, without doubles, and told beforehand by a dry run.

    report = import_file(db, path, dry_run=True)

The whole import is one transaction: a mistake, a full disk or a power cut half way leaves the log as it was. Until it
ends, other programs read the log as it was, and their writes wait.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlite_utils import Database

from assistant.store.conversations import now_ms
from assistant.store.database import execute, execute_many, select, transaction
from assistant.store.exchange import formats, identity
from assistant.store.exchange.settle import settle
from assistant.store.exchange.source import Source
from assistant.store.exchange.transcript import LeftOut, Transcript
from assistant.store.exchange.writer import Writer

NAMED = 100
"""So many doubles and conversations left out are named; the rest is counted."""
STEP_CONVERSATIONS = 50
"""Progress is told every so many conversations."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is. Bytes are those of the unpacked file."""

    done_bytes: int
    total_bytes: int
    conversations: int
    messages: int
    ended: bool = False

    @property
    def share(self) -> float:
        """From 0 to 1. A file that is read another way than by its bytes is at 0 until it ends."""
        return 1.0 if self.ended else min(1.0, self.done_bytes / max(1, self.total_bytes))


@dataclass(slots=True)
class Report:
    """What an import did, or with `dry_run` would do."""

    file: str
    format: str
    dry_run: bool
    conversations: int = 0
    messages: int = 0
    doubles: int = 0
    """Conversations that the log, or the file before them, has already."""
    left_out: int = 0
    named_doubles: list[str] = field(default_factory=list)
    named_left_out: list[LeftOut] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    """What of the imported conversations was left out or kept in another way, with how often."""


def import_file(
    db: Database,
    path: Path,
    *,
    dry_run: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Import a file of any known format. Raises `ImportRefused` for the file, another `StoreError` for the log.

    Whatever `progress` raises stops the import, and nothing of it stays.
    """
    source = Source(path)
    report = Report(str(path), formats.find(source), dry_run)
    source.done_bytes = 0
    with _known(db), _all_or_nothing(db, dry_run):
        writer = None if dry_run else Writer(db)
        for number, one in enumerate(formats.read(source, report.format), start=1):
            _take(db, one, writer, report)
            if number % STEP_CONVERSATIONS == 0:
                progress(_progress(source, report))
        if writer is not None:
            writer.flush()
    progress(replace(_progress(source, report), ended=True))
    if report.conversations and not dry_run:
        select(db, "PRAGMA wal_checkpoint(TRUNCATE)")  # else the -wal file stays as large as what was imported
    return report


def _progress(source: Source, report: Report) -> Progress:
    return Progress(source.done_bytes, source.total_bytes, report.conversations, report.messages)


@contextmanager
def _all_or_nothing(db: Database, dry_run: bool) -> Iterator[None]:
    if dry_run:
        yield
    else:
        with transaction(db):
            yield


def _take(db: Database, one: Transcript | LeftOut, writer: Writer | None, report: Report) -> None:
    """Store one conversation, or say why not."""
    if isinstance(one, LeftOut):
        return _leave_out(report, one)
    settled = settle(one, now_ms())
    # An empty one of our own is told from others by its time: without one it would come in again and again.
    if not settled.turns and (not settled.exact or one.created_ms is None):
        return _leave_out(report, LeftOut(settled.name, "nothing was said in it"))
    content_hash = identity.of_transcript(settled)
    if _is_known(db, content_hash):
        report.doubles += 1
        if report.doubles <= NAMED:
            report.named_doubles.append(settled.name)
        return None
    execute(db, "INSERT OR IGNORE INTO temp.known (hash) VALUES (?)", (content_hash,))
    if writer is not None:
        writer.add(settled, content_hash)
    report.conversations += 1
    report.messages += len(settled.turns)
    for what, count in settled.left.items():
        report.left[what] = report.left.get(what, 0) + count
    return None


def _leave_out(report: Report, one: LeftOut) -> None:
    report.left_out += 1
    if report.left_out <= NAMED:
        report.named_left_out.append(one)


@contextmanager
def _known(db: Database) -> Iterator[None]:
    """A table, while an import lasts, of the hashes of what the log has without one, and of what came in. On disk."""
    execute(db, "CREATE TEMP TABLE known (hash TEXT PRIMARY KEY) WITHOUT ROWID")
    try:
        execute_many(
            db, "INSERT OR IGNORE INTO temp.known (hash) VALUES (?)", ((one,) for one in identity.of_the_log(db))
        )
        yield
    finally:
        execute(db, "DROP TABLE temp.known")


def _is_known(db: Database, content_hash: str) -> bool:
    query = (
        "SELECT 1 FROM temp.known WHERE hash = ? UNION ALL "
        "SELECT 1 FROM conversations WHERE content_hash = ? AND deleted_ms IS NULL"
    )
    return bool(select(db, query, (content_hash, content_hash)))
