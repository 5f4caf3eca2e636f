"""Import files into the log: all of them or nothing, without doubles. A dry run reports and changes nothing.

    report = import_files(db, [path], dry_run=True)

Conversations are stored a part at a time, so that other programs can write between; they see what has come in so far. A
mistake, a full disk or a power cut half way leaves the log as it was: `importing` takes out what has come in.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlite_utils import Database

from assistant.errors import ImportRefused
from assistant.store.conversations import now_ms
from assistant.store.database import is_private, select, transaction
from assistant.store.files.imports import identity, importing, reader
from assistant.store.files.imports.formats import GROWING
from assistant.store.files.imports.reader import UnknownFormat
from assistant.store.files.imports.settle import EMPTY, settle
from assistant.store.files.imports.writer import Writer, names_in, store_votes_across
from assistant.store.files.transcript import LeftOut, Transcript, Vote
from assistant.store.files.values.json_values import BrokeOff
from assistant.store.files.values.source import Source, sources

NAMED = 100
"""So many doubles and conversations left out are named; the rest is counted."""
COUNTED = 200
"""Different kinds of things that are counted as left out; the rest is counted together."""
STEP_CONVERSATIONS = 50
"""Conversations between two calls of `progress`."""
PART_MESSAGES = 1000
"""So many messages are stored at once: other programs' writes wait a fifth of a second for them."""
LET_OTHERS_S = 0.008
"""Between two parts: longer than `database.TRY_AGAIN_S`, so that whoever waits gets in."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is. Bytes are those of the files as they are stored, of a zip's as they are unpacked."""

    done_bytes: int
    total_bytes: int
    conversations: int
    messages: int
    ended: bool = False

    @property
    def share(self) -> float:
        """From 0 to 1. A file that is read another way than by its bytes counts when it ends."""
        return 1.0 if self.ended else min(1.0, self.done_bytes / max(1, self.total_bytes))


@dataclass(slots=True)
class Report:
    """What an import did, or with `dry_run` would do."""

    file: str
    format: str
    dry_run: bool
    files: int = 0
    """Files that were read."""
    conversations: int = 0
    messages: int = 0
    doubles: int = 0
    """Conversations that the log, or the files before them, have already."""
    went_on: int = 0
    """Conversations that the log had the beginning of; what is new was added to them."""
    left_out: int = 0
    named_doubles: list[str] = field(default_factory=list)
    named_left_out: list[LeftOut] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    """What of the imported conversations was left out or kept in another way, with how often."""
    broke_off: list[str] = field(default_factory=list)
    """Files of which only the beginning is there, and where each breaks off: with `salvage`."""


def import_file(
    db: Database,
    path: Path,
    *,
    dry_run: bool = False,
    salvage: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """As `import_files`, of one path."""
    return import_files(db, [path], dry_run=dry_run, salvage=salvage, progress=progress)


def import_files(
    db: Database,
    paths: Sequence[Path],
    *,
    dry_run: bool = False,
    salvage: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Import files, zips and folders of any known formats; with `salvage`, what is whole of one that breaks off.

    Raises `ImportRefused` for a file, and where nothing could be read; another `StoreError` for the log. Whatever
    `progress` raises stops the import, and nothing of it stays.
    """
    report = Report(str(paths[0]) if len(paths) == 1 else f"{len(paths)} files", "", dry_run)
    with sources(paths) as found, nullcontext() if dry_run else importing.journal(db), _known(db):
        _count(report, found.left)
        taken = _Import(db, report, salvage=salvage, several=len(found.files) > 1)
        total = sum(source.total_bytes for source in found.files)
        done = 0
        for source in found.files:
            for number in taken.take(source):
                if number % STEP_CONVERSATIONS == 0:
                    progress(Progress(done + source.done_bytes, total, report.conversations, report.messages))
            done += source.total_bytes
        taken.end()
    progress(Progress(done, total, report.conversations, report.messages, ended=True))
    if report.messages and not dry_run:
        select(db, "PRAGMA wal_checkpoint(TRUNCATE)")  # else the -wal file stays as large as what was imported
    return report


class _Import:
    """An import as it goes on: what was read so far, and what waits to be stored."""

    def __init__(self, db: Database, report: Report, *, salvage: bool, several: bool) -> None:
        self._db = db
        self._report = report
        self._salvage = salvage
        self._several = several
        self._parts = None if report.dry_run else _Parts(db)
        self._formats: dict[str, None] = {}

    def take(self, source: Source) -> Iterator[int]:
        """Import one file; yields a running number after each conversation."""
        try:
            for number, (format_, one) in enumerate(reader.read(source, salvage=self._salvage), start=1):
                self._formats |= {format_: None} if format_ else {}
                self._take(one, source)
                yield number
        except UnknownFormat as error:
            if not self._several:
                raise
            _leave_out(self._report, LeftOut(source.name, error.why))
        else:
            self._report.files += 1
            if source.cut:
                self._report.broke_off.append(f"{source.label}: its compressed data ends too early")

    def end(self) -> None:
        """Store what waits. Raises `ImportRefused` where nothing at all was read."""
        report = self._report
        report.format = ", ".join(self._formats)
        if not (report.conversations or report.went_on or report.doubles):
            raise ImportRefused(_nothing(report))
        if self._parts is not None:
            self._parts.store()
            if left := self._parts.store_votes_across():
                report.left["votes against a reply that did not come in"] = left

    def _take(self, one: Transcript | LeftOut | BrokeOff, source: Source) -> None:
        if isinstance(one, BrokeOff):
            where = f"{source.label} breaks off in line {one.line}; whole conversations before it: {one.whole:,}"
            if not self._salvage:
                raise ImportRefused(
                    f"{where}. Nothing was imported. Get the file again, or import what is whole with --salvage."
                )
            self._report.broke_off.append(where)
            return
        if self._several:
            one = replace(one, name=f"{source.name}, {one.name}")
        if isinstance(one, LeftOut):
            _leave_out(self._report, one)
        else:
            _take(self._db, one, self._parts, self._report)


def _nothing(report: Report) -> str:
    """Why an import ended with nothing."""
    if report.broke_off:
        return f"{report.broke_off[0]}. Nothing whole comes before; get the file again."
    if not report.named_left_out:
        return f"{report.file} holds no conversation. Nothing was imported."
    first = report.named_left_out[0]
    more = f" (and {report.left_out - 1:,} more like it)" if report.left_out > 1 else ""
    return f"Nothing in {report.file} can be imported. {first.name}: {first.reason}{more}."


class _Parts:
    """Conversations that wait to be stored, a part at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[tuple[Transcript, str]] = []
        self._messages = 0
        self._votes_across: list[tuple[int, Vote, int]] = []
        self._first_message_id: int | None = None

    def add(self, settled: Transcript, content_hash: str) -> None:
        self._waiting.append((settled, content_hash))
        self._messages += len(settled.turns)
        if self._messages >= PART_MESSAGES:
            self.store()

    def store(self) -> None:
        """Store what waits, in one transaction."""
        if not self._waiting:
            return
        with transaction(self._db):
            writer = Writer(self._db)
            for settled, content_hash in self._waiting:
                if (older := _older(self._db, settled)) is None:
                    writer.add(settled, content_hash)
                else:
                    writer.go_on(settled, older)
            writer.flush()
            self._votes_across += writer.votes_across
            if self._first_message_id is None:
                self._first_message_id = writer.messages[0]
            importing.note(self._db, writer.conversations, writer.messages)
        self._waiting.clear()
        self._messages = 0
        if not is_private(self._db):
            time.sleep(LET_OTHERS_S)

    def store_votes_across(self) -> int:
        """Store the votes between conversations that came in. How many were against one that did not."""
        if not self._votes_across or self._first_message_id is None:
            return 0
        return store_votes_across(self._db, self._votes_across, self._first_message_id)


def _take(db: Database, one: Transcript, parts: _Parts | None, report: Report) -> None:
    """Store one conversation, or say why not."""
    settled = settle(one, now_ms())
    # Only its time identifies an empty conversation of an export: without a time every import would add it again.
    if not settled.turns and (not settled.exact or one.created_ms is None):
        return _leave_out(report, LeftOut(settled.name, _why_empty(settled)))
    content_hash = identity.of_transcript(settled)
    if _is_known(db, content_hash):
        report.doubles += 1
        if report.doubles <= NAMED:
            report.named_doubles.append(settled.name)
        return None
    db.conn.execute("INSERT OR IGNORE INTO temp.known (hash) VALUES (?)", (content_hash,))
    older = _older(db, settled)
    new = len(settled.turns)
    if older is not None:
        names = names_in(db, older)
        new = sum(turn.key not in names for turn in settled.turns)
        if not new:  # it went on here, or less of it was exported this time
            report.doubles += 1
            return None
        report.went_on += 1
    else:
        report.conversations += 1
    if parts is not None:
        parts.add(settled, content_hash)
    report.messages += new
    return _count(report, settled.left)


def _why_empty(settled: Transcript) -> str:
    """Why nothing is left of a conversation."""
    if set(settled.left) == {EMPTY}:
        return "its messages are empty"
    what = ", ".join(f"{number} {things}" for things, number in settled.left.items())
    return f"no text of a user or an assistant is in it: {what}" if what else "nothing was said in it"


def _count(report: Report, left: Mapping[str, int]) -> None:
    for what, number in left.items():
        key = what if what in report.left or len(report.left) < COUNTED else "other fields left out"
        report.left[key] = report.left.get(key, 0) + number


def _older(db: Database, settled: Transcript) -> int | None:
    """The conversation of the log that this one is, grown since it was imported."""
    if settled.source not in GROWING or not settled.source_id or settled.exact:
        return None
    query = "SELECT id FROM conversations WHERE source_id = ? AND source_id <> '' AND source = ? AND deleted_ms IS NULL"
    for (one,) in select(db, f"{query} ORDER BY id DESC", (settled.source_id, settled.source)):
        if names_in(db, one).keys() & {turn.key for turn in settled.turns}:
            return int(one)
    return None


def _leave_out(report: Report, one: LeftOut) -> None:
    report.left_out += 1
    if report.left_out <= NAMED:
        report.named_left_out.append(one)


@contextmanager
def _known(db: Database) -> Iterator[None]:
    """A table, while an import lasts, of the hashes of what the log has without one, and of what came in. On disk."""
    db.conn.execute("CREATE TEMP TABLE known (hash TEXT PRIMARY KEY) WITHOUT ROWID")
    try:
        db.conn.execute("BEGIN")  # no lock but for reading: others write meanwhile
        db.conn.executemany(
            "INSERT OR IGNORE INTO temp.known (hash) VALUES (?)", ((one,) for one in identity.of_the_log(db))
        )
        db.conn.execute("COMMIT")
        yield
    finally:
        if db.conn.in_transaction:
            db.conn.execute("ROLLBACK")
        db.conn.execute("DROP TABLE temp.known")


def _is_known(db: Database, content_hash: str) -> bool:
    query = (
        "SELECT 1 FROM temp.known WHERE hash = ? UNION ALL "
        "SELECT 1 FROM conversations WHERE content_hash = ? AND deleted_ms IS NULL"
    )
    return bool(select(db, query, (content_hash, content_hash)))
