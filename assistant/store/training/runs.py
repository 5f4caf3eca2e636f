"""Training runs: what was asked for, how it went step by step, and what evaluation said."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.conversations import now_ms
from assistant.store.database import execute, select, transaction

State = Literal["running", "stopped", "finished", "failed"]


@dataclass(frozen=True, slots=True)
class Run:
    """`config` is what was asked for, `result` what came of it; both plain JSON. `adapter_hash`: empty until saved."""

    id: int
    name: str
    dataset_id: int | None
    dataset_hash: str
    model: str
    base_hash: str
    config: Mapping[str, Any]
    state: State
    error: str
    result: Mapping[str, Any]
    adapter_hash: str
    created_ms: int
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A report, plain JSON, on the adapter of a run."""

    run_id: int
    adapter_hash: str
    report: Mapping[str, Any]
    done_ms: int


_COLUMNS = (
    "id, name, dataset_id, dataset_hash, model, base_hash, config, state, error, result, adapter_hash, created_ms, "
    "ended_ms"
)


def add(
    db: Database, name: str, dataset_id: int, dataset_hash: str, model: str, base_hash: str, config: Mapping[str, Any]
) -> Run:
    """Begin a run. Its name is that of the dataset with the first free number: `mine-1`.

    Later versions of a dataset go on with its numbers: a run on `mine-2`, beside a dataset `mine`, is `mine-2` if free.
    """
    with transaction(db):
        taken = {row[0] for row in select(db, "SELECT name FROM runs")}
        first = re.sub(r"-\d+$", "", name)
        line = first if select(db, "SELECT 1 FROM datasets WHERE name = ?", (first,)) else name
        numbered = next(one for one in (f"{line}-{number}" for number in range(1, len(taken) + 2)) if one not in taken)
        execute(
            db,
            "INSERT INTO runs (name, dataset_id, dataset_hash, model, base_hash, config, state, created_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, 'running', ?)",
            (numbered, dataset_id, dataset_hash, model, base_hash, json.dumps(config), now_ms()),
        )
    return get(db, numbered)


def get(db: Database, name: str) -> Run:
    """Raises `StoreError` where there is none of that name."""
    run = find(db, name)
    if run is None:
        known = ", ".join(one.name for one in every(db)[:8]) or "none"
        raise StoreError(f"There is no run {name!r}. There are: {known}.")
    return run


def find(db: Database, name: str) -> Run | None:
    """The run of that name, if there is one."""
    rows = select(db, f"SELECT {_COLUMNS} FROM runs WHERE name = ?", (name,))
    return _run(rows[0]) if rows else None


def by_id(db: Database, run_id: int | None) -> Run | None:
    """The one an adapter names; None where it is deleted."""
    rows = select(db, f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run_id,))
    return _run(rows[0]) if rows else None


def every(db: Database) -> list[Run]:
    """All of them, the newest first."""
    return [_run(row) for row in select(db, f"SELECT {_COLUMNS} FROM runs ORDER BY id DESC")]


def set_state(db: Database, run_id: int, state: State, error: str = "") -> None:
    """How it stands now; any state but `running` is an end."""
    ended = None if state == "running" else now_ms()
    execute(db, "UPDATE runs SET state = ?, error = ?, ended_ms = ? WHERE id = ?", (state, error, ended, run_id))


def set_config(db: Database, run_id: int, config: Mapping[str, Any]) -> None:
    """What was settled once the training was measured."""
    execute(db, "UPDATE runs SET config = ? WHERE id = ?", (json.dumps(config), run_id))


def set_result(db: Database, run_id: int, result: Mapping[str, Any], adapter_hash: str) -> None:
    """What came of it, and the hash of its adapter."""
    execute(db, "UPDATE runs SET result = ?, adapter_hash = ? WHERE id = ?", (json.dumps(result), adapter_hash, run_id))


def add_point(db: Database, run_id: int, step: int, figures: Mapping[str, float]) -> None:
    """What was measured at a step; one that was done again after a kill replaces what it said before."""
    execute(
        db,
        "INSERT INTO run_points (run_id, step, figures) VALUES (?, ?, ?) "
        "ON CONFLICT (run_id, step) DO UPDATE SET figures = json_patch(figures, excluded.figures)",
        (run_id, step, json.dumps(figures)),
    )


def points(db: Database, run_id: int) -> list[tuple[int, dict[str, float]]]:
    """(step, figures) of a run, in order."""
    rows = select(db, "SELECT step, figures FROM run_points WHERE run_id = ? ORDER BY step", (run_id,))
    return [(step, json.loads(figures)) for step, figures in rows]


def add_evaluation(db: Database, run_id: int, adapter_hash: str, report: Mapping[str, Any]) -> None:
    """Keep a report, with the time it is now."""
    execute(
        db,
        "INSERT INTO evaluations (run_id, adapter_hash, report, done_ms) VALUES (?, ?, ?, ?)",
        (run_id, adapter_hash, json.dumps(report, ensure_ascii=False), now_ms()),
    )


def evaluation(db: Database, run_id: int) -> Evaluation | None:
    """The last report on a run's adapter."""
    rows = select(
        db,
        "SELECT run_id, adapter_hash, report, done_ms FROM evaluations WHERE run_id = ? ORDER BY id DESC LIMIT 1",
        (run_id,),
    )
    return next((Evaluation(row[0], row[1], json.loads(row[2]), row[3]) for row in rows), None)


def last_evaluations(db: Database) -> list[Evaluation]:
    """The last report on each dataset, whichever run it was on."""
    rows = select(
        db,
        "SELECT run_id, adapter_hash, report, done_ms FROM evaluations WHERE id IN "
        "(SELECT max(e.id) FROM evaluations e JOIN runs r ON r.id = e.run_id GROUP BY r.dataset_hash) ORDER BY id",
    )
    return [Evaluation(row[0], row[1], json.loads(row[2]), row[3]) for row in rows]


def proof(db: Database, run_id: int | None, adapter_hash: str) -> dict[str, Any] | None:
    """The main measure of the last report, where that is on this very adapter; None where there is none."""
    found = None if run_id is None else evaluation(db, run_id)
    if found is None or found.adapter_hash != adapter_hash:
        return None
    return next((dict(one) for one in found.report.get("measures", ()) if one.get("main")), None)


def delete(db: Database, name: str) -> None:
    """Delete a run with its points and reports; an adapter of it stays."""
    execute(db, "DELETE FROM runs WHERE id = ?", (get(db, name).id,))


def _run(row: tuple[Any, ...]) -> Run:
    fields = list(row)
    fields[6], fields[9] = json.loads(fields[6]), json.loads(fields[9])
    return Run(*fields)
