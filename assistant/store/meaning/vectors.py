"""The file of vectors beside the log, `log.meaning`, and the nearest of them. It holds nothing of its own.

Each vector is kept twice: the signs of its numbers, one bit each, in blocks that are read into memory and compared all
at once (a million of 384 bits: 48 MB, 10 ms), and its numbers as bytes, by which the best of those are ranked again.
A file of its own, because it is as large as a log's text, can be made anew, and needn't be in every backup.

In plain tables, compared by numpy: SQLite's extension for vectors can't be loaded into every Python (some are built
without extensions, those of macOS among them), and scans more slowly.
"""

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from assistant.errors import DatabaseDamaged, StoreError
from assistant.store.database import path_of
from assistant.store.sqlite_errors import BUSY_TIMEOUT_MS, explained

BLOCK = 1024
"""Vectors of one block."""

RANKED_AGAIN = 4
"""So many candidates for each message asked for are ranked by their numbers."""

LEAST_RANKED = 400

COMPARED_AT_ONCE = 1 << 15

FAR = 1 << 15
"""The distance of what isn't there: more than the bits of any vector."""

_LAYOUT = 1
_SCHEMA = f"""
CREATE TABLE about (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY, message_id INTEGER NOT NULL, text_hash INTEGER NOT NULL, numbers BLOB NOT NULL
);
CREATE INDEX vectors_message ON vectors(message_id);
CREATE INDEX vectors_text ON vectors(text_hash);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, owners BLOB NOT NULL, signs BLOB NOT NULL);
PRAGMA user_version = {_LAYOUT};
"""

Kept = tuple[int, bytes]
"""A text's hash and its vector's numbers as bytes."""


def file_of(db: Database) -> Path | None:
    """Where the vectors of this log are; None for one in memory, which has none."""
    path = path_of(db)
    return None if path == "in memory" else Path(path).with_suffix(".meaning")


class Vectors:
    """An open file of vectors, and the signs of all of them in memory once something was searched for."""

    def __init__(self, file: Path, model: str | None = None) -> None:
        """Vectors that `model` made; those of another one are thrown away. None: whatever there are."""
        self.file = file
        try:
            self._open()
            wrong = model is not None and self.get("model", model) != model
        except DatabaseDamaged:
            wrong = True
        if wrong:
            self.begin_anew()
        if model is not None and self.get("model") != model:
            with self.writing():
                self.set("model", model)
        self._version = 0
        self._owners: NDArray[np.int64] = np.zeros(0, np.int64)
        self._signs: NDArray[np.uint64] = np.zeros((0, 0), np.uint64)  # [words, vectors]

    def _open(self) -> None:
        with _explained(self.file):
            os.close(os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(self.file, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
            for pragma in ("journal_mode = WAL", "secure_delete = ON", "synchronous = NORMAL", "cache_size = -32000"):
                self._connection.execute(f"PRAGMA {pragma}")
            if self._layout() == 0:
                with self.writing():
                    if self._layout() == 0:  # else another program was first
                        for statement in _SCHEMA.split(";\n"):
                            self._connection.execute(statement)
            if self._layout() != _LAYOUT:
                raise DatabaseDamaged(f"{self.file} was written by another version.")

    def _layout(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def begin_anew(self) -> None:
        """Throw the file away, which can be damaged, and make an empty one."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        self._open()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing, alone."""
        with _explained(self.file):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def get(self, key: str, default: Any = None) -> Any:
        """What is known about the file by this name."""
        rows = self._rows("SELECT value FROM about WHERE key = ?", (key,))
        return rows[0][0] if rows else default

    def set(self, key: str, value: Any) -> None:
        """Inside `writing`."""
        self._connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    def of_texts(self, hashes: Collection[int]) -> dict[int, bytes]:
        """The numbers of those texts that are known."""
        marks = ", ".join("?" * len(hashes))
        return dict(self._rows(f"SELECT text_hash, numbers FROM vectors WHERE text_hash IN ({marks})", list(hashes)))

    def of_messages(self, ids: Sequence[int]) -> Iterator[tuple[int, NDArray[np.int8]]]:
        """(message, the numbers of one of its pieces) for those of these messages that have vectors."""
        for begin in range(0, len(ids), BLOCK // 2):
            some = ids[begin : begin + BLOCK // 2]
            marks = ", ".join("?" * len(some))
            for message_id, numbers in self._rows(
                f"SELECT message_id, numbers FROM vectors WHERE message_id IN ({marks})", some
            ):
                yield message_id, np.frombuffer(numbers, np.int8)

    def replace(self, kept: dict[int, Sequence[Kept]]) -> None:
        """Take these vectors for these messages, in place of what there was for them. Inside `writing`."""
        old = [row[0] for one in kept for row in self._rows("SELECT id FROM vectors WHERE message_id = ?", (one,))]
        self._connection.executemany("DELETE FROM vectors WHERE id = ?", ((one,) for one in old))
        changed: list[tuple[int, int, bytes]] = [(one, 0, b"") for one in old]
        for message_id, texts in kept.items():
            for text_hash, numbers in texts:
                cursor = self._connection.execute(
                    "INSERT INTO vectors (message_id, text_hash, numbers) VALUES (?, ?, ?)",
                    (message_id, text_hash, numbers),
                )
                changed.append((cursor.lastrowid or 0, message_id, _signs(numbers)))
        self._write_blocks(changed)

    def remove(self, message_ids: Iterable[int]) -> None:
        """Take these messages out, also out of the file's free pages and its -wal."""
        with self.writing():
            self.replace(dict.fromkeys(message_ids, ()))
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def owners(self) -> NDArray[np.int64]:
        """The messages that have vectors, in order."""
        self._refresh()
        return np.unique(self._owners[self._owners > 0])

    def nearest(
        self, vector: Sequence[float], count: int, among: Collection[int] | None = None
    ) -> list[tuple[int, float]]:
        """(message, cosine) of about the `count` messages nearest to `vector`, the nearest first, or fewer.

        With `among` only these. Raises `StoreError` where the vector is of another length than those of the file.
        """
        self._refresh()
        if not len(self._owners):
            return []
        wanted = np.asarray(vector, np.float32)
        if (len(wanted) + 63) // 64 != len(self._signs):
            raise StoreError(f"A vector of {len(wanted)} numbers can't be compared with those of {self.file.name}.")
        candidates = self._candidates(_sign_words(wanted), max(LEAST_RANKED, RANKED_AGAIN * count), among)
        best: dict[int, float] = {}
        for message_id, similarity in self._ranked(candidates, wanted):
            best[message_id] = max(similarity, best.get(message_id, -1.0))
        return sorted(best.items(), key=lambda one: (-one[1], -one[0]))[:count]

    def _candidates(self, signs: NDArray[np.uint64], count: int, among: Collection[int] | None) -> NDArray[np.int64]:
        """Ids of about `count` vectors whose signs differ least, at most twice as many; or fewer."""
        live = self._owners > 0
        if among is not None:
            wanted = np.zeros(int(self._owners.max()) + 1, np.bool_)
            listed = np.fromiter(among, np.int64, len(among))
            wanted[listed[listed < len(wanted)]] = True
            live &= wanted[self._owners]
        few = np.flatnonzero(live) if among is not None else None
        distances = _distances(self._signs if few is None else self._signs[:, few], signs)
        if few is None:
            distances[~live] = FAR
        within = np.cumsum(np.bincount(distances)[:FAR])
        near = np.flatnonzero(distances <= min(int(np.searchsorted(within, count)), FAR - 1))[: 2 * count]
        return (near if few is None else few[near]) + 1

    def _ranked(self, ids: NDArray[np.int64], wanted: NDArray[np.float32]) -> Iterator[tuple[int, float]]:
        """(message, cosine) for each of these vectors."""
        if not len(ids):
            return
        listed = ", ".join(map(str, ids.tolist()))
        rows = self._rows(f"SELECT message_id, numbers FROM vectors WHERE id IN ({listed})")
        numbers = np.frombuffer(b"".join(row[1] for row in rows), np.int8).reshape(len(rows), -1).astype(np.float32)
        lengths = np.linalg.norm(numbers, axis=1) * np.linalg.norm(wanted)
        cosines = (numbers @ wanted) / np.maximum(lengths, 1e-9)
        yield from zip((row[0] for row in rows), cosines.tolist(), strict=True)

    def _write_blocks(self, changed: list[tuple[int, int, bytes]]) -> None:
        """Put (vector, its message or 0, its signs) in their blocks."""
        version = self.get("version", 0) + 1
        blocks: dict[int, list[tuple[int, int, bytes]]] = {}
        for one in changed:
            blocks.setdefault((one[0] - 1) // BLOCK, []).append(one)
        for block, ones in blocks.items():
            width = max(len(signs) for _, _, signs in ones)
            rows = self._rows("SELECT owners, signs FROM blocks WHERE id = ?", (block,))
            owners, signs = map(bytearray, rows[0] if rows else (bytes(8 * BLOCK), bytes(width * BLOCK)))
            width = len(signs) // BLOCK
            for vector, owner, bits in ones:
                place = (vector - 1) % BLOCK
                owners[8 * place : 8 * place + 8] = owner.to_bytes(8, "little")
                signs[width * place : width * (place + 1)] = bits or bytes(width)
            self._connection.execute(
                "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", (block, version, bytes(owners), bytes(signs))
            )
        self.set("version", version)

    def _refresh(self) -> None:
        """Read the blocks that have changed since they were read last."""
        rows = self._rows("SELECT id, version, owners, signs FROM blocks WHERE version > ?", (self._version,))
        if not rows:
            return
        longest = max(len(self._owners), BLOCK * (1 + max(row[0] for row in rows)))
        words = len(rows[0][3]) // BLOCK // 8
        if longest > len(self._owners):
            owners, signs = np.zeros(longest, np.int64), np.zeros((words, longest), np.uint64)
            owners[: len(self._owners)] = self._owners
            if len(self._owners):
                signs[:, : len(self._owners)] = self._signs
            self._owners, self._signs = owners, signs
        for block, version, owners_bytes, signs_bytes in rows:
            here = slice(BLOCK * block, BLOCK * (block + 1))
            self._owners[here] = np.frombuffer(owners_bytes, "<i8")
            self._signs[:, here] = np.frombuffer(signs_bytes, np.uint64).reshape(BLOCK, words).T
            self._version = max(self._version, version)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _explained(self.file):
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, values).fetchall()
        return rows


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """As for the log, but what is damaged here is no loss."""
    try:
        with explained(file):
            yield
    except DatabaseDamaged as error:
        raise DatabaseDamaged(f"The vectors in {file} are damaged. Delete that file: it is made anew.") from error


def _distances(signs: NDArray[np.uint64], of: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """In how many bits each column of `signs` differs from `of`; a part at a time, as what fits the cache is faster."""
    distances = np.zeros(signs.shape[1], np.uint16)
    for first in range(0, len(distances), COMPARED_AT_ONCE):
        part = slice(first, first + COMPARED_AT_ONCE)
        for words, word in zip(signs, of, strict=True):
            distances[part] += np.bitwise_count(words[part] ^ word)
    return distances


def quantised(vector: Sequence[float]) -> bytes:
    """The numbers of a vector as signed bytes, the largest 127. Its length is lost; cosines don't need it."""
    numbers = np.asarray(vector, np.float32)
    largest = float(np.abs(numbers).max(initial=0.0)) or 1.0
    bytes_: bytes = np.rint(numbers * (127 / largest)).astype(np.int8).tobytes()
    return bytes_


def _signs(numbers: bytes) -> bytes:
    signs: bytes = _sign_words(np.frombuffer(numbers, np.int8)).tobytes()
    return signs


def _sign_words(numbers: NDArray[Any]) -> NDArray[np.uint64]:
    """One bit for each number, set where it is above zero, filled up to whole 64-bit words."""
    bits = np.zeros((len(numbers) + 63) // 64 * 64, np.bool_)
    bits[: len(numbers)] = numbers > 0
    return np.packbits(bits).view(np.uint64)
