"""Which texts still need a vector, and where their vectors go.

The newest messages come first: what is said meanwhile, then those from when this began, back to the oldest. Done is one
run of ids, from `low` to `high`, that grows at both ends, so that a program that ends loses at most one batch. What
is rewritten, ends or is deleted within it, whoever does it, triggers put in `meaning_stale`.
"""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlite_utils import Database

from assistant.errors import DatabaseDamaged, StoreError
from assistant.store.database import execute, select
from assistant.store.meaning.vectors import Vectors, file_of, quantised
from assistant.store.schema.words import CJK_RUN

PIECE_CHARACTERS = 1_000
"""A text is cut to pieces of so many, some 220 tokens of English; of Chinese, a token each, a quarter as many."""

MOST_PIECES = 8
"""What follows in a text is found by its words alone."""

TEXTS = 16
"""About so many texts are embedded at a time: a second of work."""

LOOKED_AT = 64
"""So many messages at most, where most texts are known already."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages, the hashes of the pieces of each, and the texts that are to be embedded for them."""

    messages: dict[int, tuple[int, ...]]
    texts: dict[int, str]
    """Hash -> text, for those whose vector isn't known."""
    low: int
    high: int
    """What is done once this batch is."""
    stale: tuple[int, ...]


def open_vectors(db: Database, model: str) -> Vectors:
    """The vectors of this log that `model` makes. From now on, changes of the log are noted for them."""
    file = file_of(db)
    if file is None:
        raise StoreError("A private log is not searched by meaning.")
    if not select(db, "SELECT 1 FROM state WHERE key = 'meaning'"):
        execute(db, "INSERT OR IGNORE INTO state (key, value) VALUES ('meaning', '1')")
    return Vectors(file, model)


def pieces(text: str) -> list[str]:
    """The pieces of a text, cut where a line, a sentence or a word ends."""
    found: list[str] = []
    text = text.replace("\0", " ").strip()
    while text and len(found) < MOST_PIECES:
        window = text[:PIECE_CHARACTERS]
        chinese = sum(len(run) for run in CJK_RUN.findall(window)) / len(window)
        size = int(PIECE_CHARACTERS / (1 + 3 * chinese))
        if len(text) > size:
            size = next(
                (at + len(end) for end in ("\n", "。", ". ", " ") if (at := text.rfind(end, size // 2, size)) > 0), size
            )
        found.append(text[:size].strip())
        text = text[size:].strip()
    return found


def text_hash(text: str) -> int:
    """64 bits of a hash, as SQLite's integers are."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def next_batch(db: Database, vectors: Vectors) -> Batch | None:
    """What is to be embedded next; None when all is done."""
    low, high = _done(db, vectors)
    stale = select(db, "SELECT id, message_id FROM meaning_stale ORDER BY id LIMIT ?", (LOOKED_AT,))
    if stale:
        ids = {row[1] for row in stale}
        marks = ", ".join("?" * len(ids))
        found = select(db, f"SELECT id, content, state FROM messages WHERE id IN ({marks})", list(ids))
        there = {row[0] for row in found}
        messages, texts = _hashed(vectors, [*((one, "", "gone") for one in ids - there), *found])
        return Batch(messages, texts, low, high, tuple(row[0] for row in stale if row[1] in messages))
    for where, bound in (("id > ? ORDER BY id", high), ("id < ? ORDER BY id DESC", low)):
        found = select(db, f"SELECT id, content, state FROM messages WHERE {where} LIMIT ?", (bound, LOOKED_AT))
        if found:
            messages, texts = _hashed(vectors, found)
            return Batch(messages, texts, min(low, *messages), max(high, *messages), ())
    return None


def _done(db: Database, vectors: Vectors) -> tuple[int, int]:
    high = vectors.get("high")
    if high is None:
        high = select(db, "SELECT coalesce(max(id), 0) FROM messages")[0][0]
        return high + 1, high
    return vectors.get("low"), high


def _hashed(
    vectors: Vectors, rows: Sequence[tuple[int, str, str]]
) -> tuple[dict[int, tuple[int, ...]], dict[int, str]]:
    """(message -> its texts, the texts that aren't known) for as many of these messages, in order, as make a batch.

    A growing reply has no text yet: it is stale when it has ended.
    """
    messages, texts = dict[int, tuple[int, ...]](), dict[int, str]()
    for message_id, content, state in rows:
        if len(texts) >= TEXTS:
            break
        hashed = {text_hash(piece): piece for piece in pieces(content)} if state != "growing" else {}
        known = vectors.of_texts(hashed.keys())
        texts |= {one: piece for one, piece in hashed.items() if one not in known}
        messages[message_id] = tuple(hashed)
    return messages, texts


def keep(db: Database, vectors: Vectors, batch: Batch, made: Sequence[Sequence[float]]) -> None:
    """Store what was made of the batch's texts. What was deleted or rewritten since is left to the next batches."""
    new = {one: quantised(vector) for one, vector in zip(batch.texts, made, strict=True)}
    with vectors.writing():
        known = new | vectors.of_texts({one for hashes in batch.messages.values() for one in hashes} - new.keys())
        still = _still_so(db, batch)
        vectors.replace({one: [(text, known[text]) for text in batch.messages[one] if text in known] for one in still})
        vectors.set("low", batch.low)
        vectors.set("high", batch.high)
    if batch.stale:
        execute(db, f"DELETE FROM meaning_stale WHERE id IN ({', '.join('?' * len(batch.stale))})", batch.stale)


def _still_so(db: Database, batch: Batch) -> list[int]:
    """The batch's messages whose text is what was embedded; of those that are gone, there is no text."""
    marks = ", ".join("?" * len(batch.messages))
    rows = select(db, f"SELECT id, content, state FROM messages WHERE id IN ({marks})", list(batch.messages))
    now = {row[0]: set() if row[2] == "growing" else {text_hash(piece) for piece in pieces(row[1])} for row in rows}
    return [one for one, hashes in batch.messages.items() if now.get(one, set()) == set(hashes)]


def progress(db: Database, vectors: Vectors) -> tuple[int, int]:
    """(messages done, of how many)."""
    low, high = _done(db, vectors)
    done, total = select(
        db,
        "SELECT (SELECT count(*) FROM messages WHERE id BETWEEN ? AND ?) - (SELECT count(*) FROM meaning_stale), "
        "(SELECT count(*) FROM messages)",
        (low, high),
    )[0]
    return max(0, done), total


def share(db: Database, vectors: Vectors) -> float:
    """About how much of the log is done, by the span of its ids alone; 1.0 when all is. No message is counted."""
    low, high = _done(db, vectors)
    first, last, stale = select(
        db,
        "SELECT (SELECT min(id) FROM messages), (SELECT max(id) FROM messages), (SELECT count(*) FROM meaning_stale)",
    )[0]
    if first is None or (low <= first and last <= high and not stale):
        return 1.0
    known = max(0, min(last, high) - max(first, low) + 1 - stale)
    known_share: float = known / (last - first + 1)
    return min(known_share, 0.99)


def forget(db: Database) -> None:
    """Take the vectors of messages that are gone, or no longer say what they said, out of their file."""
    stale = select(db, "SELECT id, message_id FROM meaning_stale")
    file = file_of(db)
    if not stale or file is None:
        return
    if file.exists():
        with closing(Vectors(file)) as vectors:
            try:
                vectors.remove({row[1] for row in stale})
            except DatabaseDamaged:
                vectors.begin_anew()
    execute(
        db, "DELETE FROM meaning_stale WHERE id <= ? AND message_id NOT IN (SELECT id FROM messages)", (stale[-1][0],)
    )


def distrust(db: Database) -> None:
    """After the log was put back or recovered: go through all of it again, and embed what isn't known."""
    file = file_of(db)
    if file is None or not file.exists():
        return
    with closing(Vectors(file)) as vectors:
        there = {row[0] for row in select(db, "SELECT id FROM messages")}
        vectors.remove(one for one in vectors.owners().tolist() if one not in there)
        with vectors.writing():
            vectors.set("high", None)
