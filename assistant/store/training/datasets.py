"""Frozen datasets: which examples were trained on, in which part of the split, and which replies they came from.

An example is text of its own, so that a dataset stays what it was while the log goes on; it goes with the reply it came
from when that is deleted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.conversations import now_ms
from assistant.store.database import execute, execute_many, select, transaction

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Dataset:
    """`source` says where the examples came from, `statistics` what was counted of them; both plain JSON."""

    id: int
    name: str
    kind: str
    hash: str
    source: Mapping[str, Any]
    statistics: Mapping[str, Any]
    created_ms: int


@dataclass(frozen=True, slots=True)
class StoredExample:
    """One example. `group_id` numbers near-duplicates, which are all in one part. `message_id`: None from a file."""

    split: str
    group_id: int
    message_id: int | None
    hash: str
    body: str
    rejected_id: int | None = None
    """The reply that was not preferred."""
    conversation: str = ""
    """What a conversation is known again by in a later dataset."""
    said: str = ""
    """What near-duplicates are told by, where a template's words surround it in `body`."""


_COLUMNS = "id, name, kind, hash, source, statistics, created_ms"
_AT_ONCE = 500
"""Ids in one query."""
_EXAMPLE = ", ".join(one.name for one in fields(StoredExample))


def add(
    db: Database,
    name: str,
    kind: str,
    hash_: str,
    source: Mapping[str, Any],
    statistics: Mapping[str, Any],
    examples: Iterable[StoredExample],
) -> Dataset:
    """Freeze a dataset. Raises `StoreError` where there is one of that name."""
    with transaction(db):
        refuse_taken(db, name)
        told = (name, kind, hash_, json.dumps(source), json.dumps(statistics), now_ms())
        cursor = execute(
            db,
            "INSERT INTO datasets (name, kind, hash, source, statistics, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
            told,
        )
        execute_many(
            db,
            f"INSERT INTO examples (dataset_id, {_EXAMPLE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((cursor.lastrowid, *astuple(one)) for one in examples),
        )
    return get(db, name)


def refuse_taken(db: Database, name: str) -> None:
    """Raise `StoreError` where there is a dataset of that name."""
    if select(db, "SELECT 1 FROM datasets WHERE name = ?", (name,)):
        raise StoreError(f"There is a dataset {name!r} already. Choose another name, or delete that one.")


def get(db: Database, name: str) -> Dataset:
    """Raises `StoreError` where there is none of that name."""
    rows = select(db, f"SELECT {_COLUMNS} FROM datasets WHERE name = ?", (name,))
    if not rows:
        known = ", ".join(one.name for one in every(db)[:8]) or "none"
        raise StoreError(f"There is no dataset {name!r}. There are: {known}. `finetune data` makes one.")
    return _dataset(rows[0])


def by_id(db: Database, dataset_id: int | None) -> Dataset | None:
    """The one a run names; None where it is deleted."""
    rows = select(db, f"SELECT {_COLUMNS} FROM datasets WHERE id = ?", (dataset_id,))
    return _dataset(rows[0]) if rows else None


def by_hash(db: Database, hash_: str, name: str = "") -> Dataset | None:
    """A dataset of that content, of several the one of that name; None where it is deleted."""
    rows = select(db, f"SELECT {_COLUMNS} FROM datasets WHERE hash = ? ORDER BY name <> ?, id", (hash_, name))
    return _dataset(rows[0]) if rows else None


def every(db: Database) -> list[Dataset]:
    """All of them, the newest first."""
    return [_dataset(row) for row in select(db, f"SELECT {_COLUMNS} FROM datasets ORDER BY id DESC")]


def examples(db: Database, dataset_id: int, split: str | None = None) -> Iterator[StoredExample]:
    """Those of one part, or all, in the order they were frozen in."""
    where = "" if split is None else " AND split = ?"
    values = (dataset_id,) if split is None else (dataset_id, split)
    rows = select(
        db,
        f"SELECT {_EXAMPLE} FROM examples WHERE dataset_id = ?{where} ORDER BY id",
        values,
    )
    return (StoredExample(*row) for row in rows)


def sizes(db: Database, dataset_id: int, split: str) -> list[tuple[int, int, str, str]]:
    """(id, characters, hash, conversation) of each example of a part, without its text."""
    return select(
        db,
        "SELECT id, length(body), hash, conversation FROM examples WHERE dataset_id = ? AND split = ? ORDER BY id",
        (dataset_id, split),
    )


def of_ids(db: Database, ids: Sequence[int]) -> list[StoredExample]:
    """The examples in the order of their ids, as `sizes` gives these; those that were deleted are left out."""
    found: dict[int, StoredExample] = {}
    for at in range(0, len(ids), _AT_ONCE):
        some = ids[at : at + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = select(db, f"SELECT id, {_EXAMPLE} FROM examples WHERE id IN ({marks})", tuple(some))
        found |= {row[0]: StoredExample(*row[1:]) for row in rows}
    return [found[one] for one in ids if one in found]


def tested(db: Database) -> list[StoredExample]:
    """Everything that any dataset keeps for the test: it must never be trained on."""
    return [StoredExample(*row) for row in select(db, f"SELECT {_EXAMPLE} FROM examples WHERE split = 'test'")]


def tested_conversations(db: Database) -> set[str]:
    """What conversations in the test part of any dataset are known by."""
    return {row[0] for row in select(db, "SELECT DISTINCT conversation FROM examples WHERE split = 'test'")}


def counts(db: Database, dataset_id: int) -> dict[str, int]:
    """How many examples each part has now: fewer than at first, where replies were deleted."""
    rows = select(db, "SELECT split, count(*) FROM examples WHERE dataset_id = ? GROUP BY split", (dataset_id,))
    return {**dict.fromkeys(SPLITS, 0), **dict(rows)}


def delete(db: Database, name: str) -> None:
    """Delete a dataset; the runs that learned from it keep its hash."""
    execute(db, "DELETE FROM datasets WHERE id = ?", (get(db, name).id,))


def _dataset(row: tuple[Any, ...]) -> Dataset:
    id_, name, kind, hash_, source, statistics, created_ms = row
    return Dataset(id_, name, kind, hash_, json.loads(source), json.loads(statistics), created_ms)
