"""Adapters by hash with their lineage, and which of them is in use for which model, now and before."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.conversations import now_ms
from assistant.store.database import execute, select, transaction
from assistant.store.training import registered


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """An adapter. `name` is its folder's; `lineage` is plain JSON: base, dataset, config, seed, report."""

    hash: str
    name: str
    run_id: int | None
    model: str
    base_hash: str
    lineage: Mapping[str, Any]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """One swap. `adapter_hash` is what was in use from then on: empty for the base alone."""

    model: str
    adapter_hash: str
    action: Literal["promote", "rollback"]
    anyway: bool
    reasons: str
    done_ms: int


_COLUMNS = "hash, name, run_id, model, base_hash, lineage, created_ms"


def add(
    db: Database, hash_: str, name: str, run_id: int | None, model: str, base_hash: str, lineage: Mapping[str, Any]
) -> None:
    """Register an adapter; one of the same hash is named anew."""
    execute(
        db,
        f"INSERT OR REPLACE INTO adapters ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (hash_, name, run_id, model, base_hash, json.dumps(lineage, ensure_ascii=False), now_ms()),
    )


def remove(db: Database, hash_: str) -> None:
    """Forget an adapter; what was promoted and when stays."""
    execute(db, "DELETE FROM adapters WHERE hash = ?", (hash_,))


def every(db: Database, model: str | None = None) -> list[StoredAdapter]:
    """All, or those of a model, the newest first."""
    where, values = ("", ()) if model is None else ("WHERE model = ? ", (model,))
    rows = select(db, f"SELECT {_COLUMNS} FROM adapters {where}ORDER BY created_ms DESC, rowid DESC", values)
    return [_adapter(row) for row in rows]


def find(db: Database, hash_or_name: str) -> StoredAdapter | None:
    """By whole hash, or the newest of that name."""
    rows = select(
        db,
        f"SELECT {_COLUMNS} FROM adapters WHERE hash = ? OR name = ? ORDER BY created_ms DESC LIMIT 1",
        (hash_or_name, hash_or_name),
    )
    return _adapter(rows[0]) if rows else None


def history(db: Database, model: str) -> list[Promotion]:
    """Every swap of a model's adapter, the newest first."""
    rows = select(
        db,
        "SELECT model, adapter_hash, action, anyway, reasons, done_ms FROM promotions WHERE model = ? ORDER BY id DESC",
        (model,),
    )
    return [Promotion(row[0], row[1], row[2], bool(row[3]), row[4], row[5]) for row in rows]


def in_use(db: Database, model: str) -> StoredAdapter | None:
    """The adapter that new replies of a model are made with; None for the base alone."""
    hash_ = registered.in_use_hash(db.conn, model)
    return find(db, hash_) if hash_ else None


def promote(db: Database, hash_: str, *, anyway: bool = False, reasons: str = "") -> None:
    """Use an adapter from now on. `reasons`: what spoke against it."""
    found = find(db, hash_)
    if found is None:
        raise StoreError(f"There is no adapter {hash_[:12]!r} in the log.")
    _swap(db, found.model, found.hash, "promote", anyway, reasons)


def roll_back(db: Database, model: str) -> StoredAdapter | None:
    """Take the last promotion that stands back: the adapter that was in use before it, or None for the base alone.
    Adapters that were deleted since are passed over.

    Raises `StoreError` where none is in use.
    """
    with transaction(db):
        now = registered.in_use_hash(db.conn, model)
        if not now:
            raise StoreError(f"{model} is used without an adapter: there is nothing to take back.")
        standing = _standing(db, model)
        if standing[-1:] == [now]:
            standing.pop()
        before = standing[-1] if standing else ""
        _swap(db, model, before, "rollback", False, "")
    return find(db, before) if before else None


def _standing(db: Database, model: str) -> list[str]:
    """Hashes of the promotions that weren't taken back, the oldest first, of the adapters that there still are."""
    standing: list[str] = []
    for one in reversed(history(db, model)):
        if one.action == "promote":
            standing.append(one.adapter_hash)
        elif standing:
            standing.pop()
    return [hash_ for hash_ in standing if registered.of_hash(db.conn, hash_)]


def _swap(db: Database, model: str, hash_: str, action: str, anyway: bool, reasons: str) -> None:
    execute(
        db,
        "INSERT INTO promotions (model, adapter_hash, action, anyway, reasons, done_ms) VALUES (?, ?, ?, ?, ?, ?)",
        (model, hash_, action, int(anyway), reasons, now_ms()),
    )


def _adapter(row: tuple[Any, ...]) -> StoredAdapter:
    return StoredAdapter(row[0], row[1], row[2], row[3], row[4], json.loads(row[5]), row[6])
