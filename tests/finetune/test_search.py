"""Settings are searched by trainings of a tiny model; what was tried is kept and gone on with."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner
from sqlite_utils import Database

from assistant.errors import TrainingError, TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.datasets import StoredExample
from finetune import defaults, search
from finetune.cli.group import top
from finetune.config import TrainConfig
from finetune.run_folder import RunFolder
from finetune.search import Found, Trial
from finetune.train import run
from finetune.train.trainer import Trainer
from tests.finetune.conftest import TINY, examples, freeze

CONFIG = TrainConfig(precision="float32", tokens_per_step=256)


def searched(db: Database, home: Paths, trials: int, minutes: float = 10.0, config: TrainConfig = CONFIG) -> Found:
    return search.search(db, home, "data", TINY, config, minutes, trials)


def test_the_best_is_no_worse_than_the_usual_and_can_be_trained(db: Database, home: Paths) -> None:
    freeze(db, count=48)
    found = searched(db, home, 6)
    usual = found.trials[0]
    assert len(found.trials) == 6
    assert (usual.settings["rank"], usual.settings["schedule"], usual.settings["epochs"]) == (16, "cosine", 2)
    assert usual.settings["learning_rate"] == defaults.suited(CONFIG, 32, "supervised").learning_rate
    assert len({json.dumps(dict(one.settings)) for one in found.trials}) == 6
    assert found.best and found.config and usual.loss
    assert found.best.loss == min(one.loss for one in found.trials if one.state == "complete" and one.loss)
    assert found.best.loss < usual.loss
    assert not runs.every(db) and not adapters.every(db)
    assert [one.name for one in home.runs.iterdir() if "search" in one.name] == ["search.db"]
    done = run.begin(db, home, "data", TINY, found.config, lambda _: None)
    assert done and done.result["validation_loss"] == pytest.approx(found.best.loss, rel=1e-6)


def test_a_later_search_goes_on(db: Database, home: Paths) -> None:
    freeze(db)
    first = searched(db, home, 2)
    assert searched(db, home, 0, minutes=0.0) == first
    both = searched(db, home, 2)
    assert both.trials[:2] == first.trials
    assert len({json.dumps(dict(one.settings)) for one in both.trials}) == 4
    assert len(searched(db, home, 1, config=TrainConfig(precision="float32", method="ia3")).trials) == 1


def test_bad_trials_are_given_up(db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that is worse than the median at its first look doesn't come to its second."""
    freeze(db, count=48)
    monkeypatch.setattr(search, "UNPRUNED", 1)
    found = searched(db, home, 10)
    pruned = [one for one in found.trials if one.state == "pruned"]
    assert pruned and all(one.loss is not None for one in pruned)
    assert found.best and found.best.state == "complete"


def test_a_stop_keeps_what_is_done(db: Database, home: Paths) -> None:
    """The file that asks the running training to stop is that of the trial."""
    freeze(db)
    told: list[Trial] = []

    def say(trial: Trial) -> None:
        told.append(trial)
        RunFolder(home, f".search-{trial.number + 1}").create().want("stop")

    found = search.search(db, home, "data", TINY, CONFIG, 10.0, 2, say)
    assert [one.state for one in told] == ["complete", "pruned"]
    assert found.best == told[0]


@pytest.mark.slow
def test_ctrl_c_ends_it_and_keeps_what_is_done(db: Database, home: Paths) -> None:
    freeze(db, count=80)
    asked = [sys.executable, "-m", "finetune", "search", "--data", "data", "-m", TINY, "--budget", "10", "--json"]
    process = subprocess.Popen(asked, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert json.loads(process.stdout.readline())["state"] == "complete"
    process.send_signal(signal.SIGINT)
    told = json.loads(process.communicate(timeout=120)[0].splitlines()[-1])
    assert process.returncode == 0
    assert told["stopped"] and told["trials"] >= 1 and told["best"]["state"] == "complete"
    known = search.search(db, home, "data", TINY, TrainConfig(), 0.0)
    assert len(known.trials) == told["trials"]


def test_no_numbers_is_a_failed_trial(db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(db)

    def broken(_: Trainer) -> str:
        raise TrainingError("The gradient is no number.")

    monkeypatch.setattr(Trainer, "train", broken)
    found = searched(db, home, 2)
    assert [one.state for one in found.trials] == ["failed", "failed"]
    assert found.best is None and found.config is None


def test_a_killed_trial_is_left_behind(db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(db)

    def killed(_: Trainer) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            searched(db, home, 1)
    with sqlite3.connect(home.runs / "search.db") as file:
        file.execute("UPDATE trials SET state = 'RUNNING', datetime_complete = NULL")
    file.close()
    assert [one.state for one in searched(db, home, 1).trials] == ["failed", "complete"]


def test_what_cannot_be_searched_is_refused(db: Database, home: Paths) -> None:
    rows = [StoredExample("train", 0, None, one.hash, one.as_json()) for one in examples("supervised", 8)]
    datasets.add(db, "data", "supervised", "h", {}, {}, rows)
    with pytest.raises(TrainingRefused, match="no validation part"):
        searched(db, home, 1)


def test_a_damaged_file_is_told(db: Database, home: Paths) -> None:
    freeze(db)
    home.runs.mkdir(exist_ok=True)
    (home.runs / "search.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(TrainingError, match="Move it away"):
        searched(db, home, 1)


def test_the_command_trains_with_the_best(db: Database) -> None:
    freeze(db)
    asked = ["search", "--data", "data", "-m", TINY, "--trials", "2", "--budget", "5"]
    told = CliRunner().invoke(top, [*asked, "--train", "--json"])
    assert told.exit_code == 0, told.output
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one["event"] for one in lines if "trial" in str(one.get("event"))] == ["trial", "trial"]
    assert runs.get(db, lines[-1]["run"]).adapter_hash
    told = CliRunner().invoke(top, [*asked[:-1], "0"])
    assert (
        "Best of 2" in told.stdout and "finetune train --data data -m tiny --method lora --learning-rate" in told.stdout
    )
