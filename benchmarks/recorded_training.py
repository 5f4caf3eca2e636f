"""Record two real trainings for the README's pictures: python -m benchmarks.recorded_training [MINUTES]

The default model learns the English conversations of the wheel chatterbot-corpus as in the Train screen: all imported
replies, first with a small adapter, then with the usual settings and a proof. Their records in the log (figures only,
no text) are stored in recorded_training.json, which the pictures and the snapshot tests show.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from assistant.engine.models import catalogue, fetch
from assistant.paths import Paths
from assistant.store.database import execute, open_database
from assistant.store.files.imports.importer import import_file
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.datasets import StoredExample
from tests.finetune import corpus

RECORD = Path(__file__).with_name("recorded_training.json")
MINUTES = 2.0
RUN_FIELDS = ("name", "config", "state", "result", "adapter_hash", "base_hash", "created_ms", "ended_ms")


def make(minutes: float) -> dict[str, Any]:
    """Train in a temporary home, and return the records."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ASSISTANT_HOME"] = folder
        paths = Paths.from_environment().create()
        fetch.pull(paths, catalogue.known(catalogue.DEFAULT), lambda _: None, lambda: False)
        db = open_database(paths.database)
        import_file(db, corpus.write(paths.data / "corpus.jsonl"))
        finetune("data", "--name", "mine", "--all", "--imported")
        train = ("train", "--data", "mine", "--model", catalogue.DEFAULT)
        finetune(*train, "--rank", "4", "--budget", f"{minutes / 2:g}")
        finetune(*train, "--budget", f"{minutes:g}", "--prove")
        record = recorded(db)
        db.close()
    return record


def finetune(*arguments: str) -> None:
    print("finetune", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "finetune", *arguments], check=True)


def recorded(db: Database) -> dict[str, Any]:
    """The dataset without its texts, and every run with its curves and proof."""
    (dataset,) = datasets.every(db)
    trained = []
    for run in reversed(runs.every(db)):
        evaluation = runs.evaluation(db, run.id)
        fields = {name: getattr(run, name) for name in RUN_FIELDS}
        report = evaluation.report if evaluation else None
        trained.append({**fields, "points": runs.points(db, run.id), "report": report})
    made = {"name": dataset.name, "hash": dataset.hash, "statistics": dataset.statistics}
    return {"dataset": made, "runs": trained}


def restore(db: Database, now_ms: int) -> None:
    """Insert the records into a log, as if the last training had ended half an hour ago."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    made, trained = record["dataset"], record["runs"]
    later_ms = now_ms - 30 * 60_000 - trained[-1]["ended_ms"]
    sizes = made["statistics"]["examples"]
    examples = [
        StoredExample(part, number, None, f"{part}{number}", '{"messages": []}')  # type: ignore[arg-type]
        for part, size in sizes.items()
        for number in range(size)
    ]
    dataset = datasets.add(db, made["name"], "supervised", made["hash"], {}, made["statistics"], examples)
    execute(db, "UPDATE datasets SET created_ms = ?", (trained[0]["created_ms"] + later_ms - 60_000,))
    for one in trained:
        run = runs.add(db, made["name"], dataset.id, made["hash"], catalogue.DEFAULT, one["base_hash"], one["config"])
        for step, figures in one["points"]:
            runs.add_point(db, run.id, step, figures)
        runs.set_result(db, run.id, one["result"], one["adapter_hash"])
        runs.set_state(db, run.id, one["state"])
        times = (one["created_ms"] + later_ms, one["ended_ms"] + later_ms, run.id)
        execute(db, "UPDATE runs SET created_ms = ?, ended_ms = ? WHERE id = ?", times)
        adapters.add(db, one["adapter_hash"], run.name, run.id, catalogue.DEFAULT, one["base_hash"], {})
        if one["report"]:
            runs.add_evaluation(db, run.id, one["adapter_hash"], one["report"])


def main() -> None:
    record = make(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES)
    RECORD.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(RECORD)


if __name__ == "__main__":
    main()
