"""The loop on a tiny model: it learns, it stops and goes on bit for bit, and it refuses what would do harm."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from sqlite_utils import Database

from assistant.adapters.folder import AdapterFolder
from assistant.errors import TrainingError, TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters as registry
from assistant.store.training import datasets, runs
from assistant.store.training.datasets import StoredExample
from finetune.cli.group import top
from finetune.config import METHODS, TrainConfig
from finetune.data.example import Example, Kind
from finetune.network.batch import Batch
from finetune.network.trainee import Trainee
from finetune.progress import Ended, Planned, Progress, Stepped, Validated, as_line, cut_lines, from_line
from finetune.run_folder import RunFolder, only_training
from finetune.train import checkpoint, run
from prompts.message import Message
from tests.finetune.conftest import TINY, freeze, said
from tests.matrix import matrix

LIMIT = 70
"""Tokens that hold two exchanges of `said`, not four."""
SMALL: dict[str, Any] = {"precision": "float32", "rank": 4, "tokens_per_step": 512, "learning_rate": 5e-3}


def trained(db: Database, home: Paths, **settings: Any) -> tuple[runs.Run, list[Progress]]:
    """A run on the dataset `data`, and what it said."""
    told: list[Progress] = []
    done = run.begin(db, home, "data", TINY, TrainConfig(**{**SMALL, **settings}), told.append)
    assert done is not None
    return done, told


def stopped_after(step: int, db: Database, home: Paths, **settings: Any) -> tuple[runs.Run, list[Progress]]:
    """As `trained`, but stopped from outside after a step."""
    told: list[Progress] = []

    def say(one: Progress) -> None:
        told.append(one)
        if isinstance(one, Stepped) and one.step == step:
            RunFolder(home, runs.every(db)[0].name).want("stop")

    done = run.begin(db, home, "data", TINY, TrainConfig(**{**SMALL, **settings}), say)
    assert done is not None
    return done, told


def losses(told: list[Progress]) -> list[float]:
    return [one.loss for one in told if isinstance(one, Stepped)]


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"qlora"}))
def test_every_method_learns(db: Database, home: Paths, method: str) -> None:
    freeze(db)
    rate = {"ia3": 0.05, "prefix": 0.05, "prompt": 0.05}.get(method, 5e-3)
    done, told = trained(db, home, method=method, steps=12, learning_rate=rate, layers=1)
    assert done.state == "finished"
    assert losses(told)[-1] < losses(told)[0]
    assert sum(isinstance(one, Validated) for one in told) >= 6
    found = registry.find(db, done.adapter_hash)
    assert found is not None
    assert found.lineage["dataset"]["name"] == "data"
    folder = AdapterFolder.open(home.adapters / done.name)
    assert (folder.hash, folder.base) == (done.adapter_hash, TINY)
    own = {"ia3": "ia3", "prefix": "prefix", "prompt": "prompt", "top-layers": "weights", "full": "weights"}
    assert folder.kind == own.get(method, "lora")


@pytest.mark.parametrize(("kind", "objective"), [("preference", "dpo"), ("kto", "kto"), ("label", "label")])
def test_every_kind_of_dataset_is_learned(db: Database, home: Paths, kind: Kind, objective: str) -> None:
    freeze(db, kind)
    done, told = trained(db, home, steps=10)
    assert done.state == "finished"
    assert losses(told)[-1] < losses(told)[0]
    assert losses(told)[0] == pytest.approx({"dpo": 0.693, "kto": 0.5, "label": losses(told)[0]}[objective], abs=0.02)


def test_what_is_said_can_be_read_again(db: Database, home: Paths) -> None:
    freeze(db)
    done, told = trained(db, home, steps=3)
    assert [from_line(as_line(one)) for one in told] == told
    assert isinstance(told[0], Planned)
    assert isinstance(told[-1], Ended)
    assert [step for step, figures in runs.points(db, done.id) if "loss" in figures] == [1, 2, 3]


def test_a_stopped_run_goes_on_bit_for_bit(db: Database, home: Paths) -> None:
    freeze(db)
    whole, told = trained(db, home, steps=8, dropout=0.1)
    part, first = stopped_after(3, db, home, steps=8, dropout=0.1)
    assert part.state == "stopped"
    rest: list[Progress] = []
    done = run.resume(db, home, part.name, rest.append)
    assert losses(first) + losses(rest) == losses(told)
    assert done.adapter_hash == whole.adapter_hash


@pytest.mark.slow
@pytest.mark.parametrize("kills", matrix([2, 20]))
def test_killed_runs_go_on_bit_for_bit(db: Database, kills: int) -> None:
    freeze(db)
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    command = [sys.executable, "-m", "finetune", "train", "--json"]
    begin = [*command, "--data", "data", "--model", TINY, "--steps", "40", "--validate-every", "1", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(begin, env=environment, check=True, capture_output=True)
    random_ = random.Random(4)
    first = True
    for _ in range(kills):
        goes_on = [*command, "--resume", "data-2"]
        process = subprocess.Popen(
            begin if first else goes_on, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if isinstance(from_line(line), Stepped):
                first = False
                break
        time.sleep(random_.uniform(0, 0.05))
        process.kill()
        process.wait()
        process.stdout.close()
        if runs.get(db, "data-2").state == "finished":
            break
    if runs.get(db, "data-2").state != "finished":
        subprocess.run([*command, "--resume", "data-2"], env=environment, check=True, capture_output=True)
    assert runs.get(db, "data-2").adapter_hash == runs.get(db, "data-1").adapter_hash


def test_a_terminated_run_stops_at_a_checkpoint(db: Database, home: Paths) -> None:
    freeze(db)
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "finetune",
            "train",
            "--data=data",
            f"--model={TINY}",
            "--steps=5000",
            "--json",
            *settings,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if isinstance(from_line(line), Stepped):
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read().splitlines()
    assert process.wait() == 0
    ended = from_line(rest[-2])
    assert isinstance(ended, Ended)
    assert (ended.state, runs.get(db, "data-1").state) == ("stopped", "stopped")
    found = checkpoint.latest(RunFolder(home, "data-1").checkpoints)
    assert found is not None
    assert found.step == ended.step


def test_the_file_wanted_pauses_and_stops(db: Database, home: Paths) -> None:
    freeze(db)
    folder = RunFolder(home, "data-1")
    told: list[Progress] = []

    def say(one: Progress) -> None:
        told.append(one)
        if isinstance(one, Stepped) and one.step == 2:
            folder.want("pause")
        elif type(one).__name__ == "Paused":
            folder.want("stop")

    done = run.begin(db, home, "data", TINY, TrainConfig(**SMALL, steps=9), say)
    assert done is not None
    assert done.state == "stopped"
    assert [type(one).__name__ for one in told if not isinstance(one, Validated)][-3:] == ["Stepped", "Paused", "Ended"]


def test_training_ends_where_held_out_loss_rises(db: Database, home: Paths) -> None:
    freeze(db)
    done, told = trained(db, home, steps=60, learning_rate=0.3, patience=2, validate_every=1)
    assert done.result["reason"] == "early"
    looks = [one for one in told if isinstance(one, Validated)]
    assert [one.best for one in looks[-2:]] == [False, False]
    assert done.result["best_step"] == [one.step for one in looks if one.best][-1]


def test_a_step_is_the_same_however_it_is_cut(db: Database, home: Paths) -> None:
    freeze(db)
    whole = losses(trained(db, home, steps=3, tokens_at_once=512, block_tokens=64)[1])
    cut = losses(trained(db, home, steps=3, tokens_at_once=64, block_tokens=64)[1])
    again = losses(trained(db, home, steps=3, tokens_at_once=64, block_tokens=64, checkpointing=True)[1])
    assert cut == pytest.approx(whole, rel=1e-4)
    assert again == pytest.approx(cut, rel=1e-5)


@pytest.mark.parametrize("block_tokens", [64, 512])
def test_too_little_memory_means_smaller_batches(
    db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch, block_tokens: int
) -> None:
    """First fewer blocks at once, then halves of blocks."""
    freeze(db)
    expected = losses(trained(db, home, steps=2, block_tokens=block_tokens)[1])
    forward, asked = Trainee.forward, []

    def limited(self: Trainee, one: Batch) -> torch.Tensor:
        asked.append(one.tokens)
        if one.tokens > 128:
            raise torch.OutOfMemoryError("no room")
        return forward(self, one)

    monkeypatch.setattr(Trainee, "forward", limited)
    assert losses(trained(db, home, steps=2, block_tokens=block_tokens)[1]) == pytest.approx(expected, rel=1e-4)
    assert max(asked) > 128


def test_a_row_that_the_memory_does_not_hold_is_refused(
    db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(db)

    def limited(_: Trainee, __: Batch) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Trainee, "forward", limited)
    with pytest.raises(TrainingRefused, match=r"doesn't hold a row of \d+ tokens"):
        trained(db, home, steps=2)


def test_numbers_that_are_none_stop_it_and_name_the_example(
    db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(db)
    forward, calls = Trainee.forward, []

    def broken(self: Trainee, batch: Any) -> torch.Tensor:
        calls.append(1)
        found = forward(self, batch)
        return found * float("nan") if self.training and len(calls) > 6 else found

    monkeypatch.setattr(Trainee, "forward", broken)
    with pytest.raises(TrainingError, match=r"example \d+ of the training part is not a finite number at step"):
        trained(db, home, steps=20)
    (failed,) = runs.every(db)
    assert failed.state == "failed"
    assert checkpoint.latest(RunFolder(home, failed.name).checkpoints) is not None


def test_a_full_disk_leaves_the_checkpoint_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = checkpoint.Checkpoint(1, {"w": torch.ones(2)}, {}, {"standing": {}})
    checkpoint.save(tmp_path, state)

    def full(_: Any, __: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match="No space left"):
        checkpoint.save(tmp_path, checkpoint.Checkpoint(2, {"w": torch.zeros(2)}, {}, {}))
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.step, found.parameters["w"].tolist()) == (1, [1, 1])
    assert [one.name for one in tmp_path.iterdir()] == ["step-000000001"]


def test_a_cut_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, checkpoint.Checkpoint(step, {"w": torch.ones(2)}, {}, {"standing": {}}))
    file = tmp_path / "step-000000002" / checkpoint.TENSORS
    file.write_bytes(file.read_bytes()[:-3])
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 1


def test_what_can_not_be_trained_is_refused(db: Database, home: Paths) -> None:
    dataset = freeze(db)
    with pytest.raises(TrainingRefused, match="is for --objective supervised"):
        trained(db, home, objective="dpo")
    with pytest.raises(TrainingRefused, match=r"adapter of this model's embedding. Remove it from --targets"):
        trained(db, home, targets=("embed_tokens", "q_proj"))
    with pytest.raises(TrainingRefused, match="needs a GPU"):
        trained(db, home, method="qlora")
    with only_training(home), pytest.raises(TrainingRefused, match="is running already"):
        trained(db, home)
    done, _ = trained(db, home, steps=1)
    with pytest.raises(TrainingRefused, match="finished"):
        run.resume(db, home, done.name, lambda _: None)
    datasets.delete(db, dataset.name)
    datasets.add(db, "data", "supervised", "none", {}, {}, [])
    with pytest.raises(TrainingRefused, match="nothing in its training part"):
        trained(db, home)


def test_a_run_whose_examples_were_deleted_does_not_go_on(db: Database, home: Paths) -> None:
    dataset = freeze(db)
    part, _ = stopped_after(1, db, home, steps=3)
    db.execute("DELETE FROM examples WHERE dataset_id = ? AND group_id = 0", [dataset.id])
    with pytest.raises(TrainingRefused, match="were deleted"):
        run.resume(db, home, part.name, lambda _: None)


def test_a_plan_trains_nothing(db: Database, home: Paths) -> None:
    freeze(db)
    told: list[Progress] = []
    config = TrainConfig(**SMALL, steps=5)
    assert run.begin(db, home, "data", TINY, config, told.append, only_plan=True) is None
    (planned,) = told
    assert isinstance(planned, Planned)
    assert (planned.steps, planned.examples) == (5, 18)
    assert runs.every(db) == []


def test_what_is_cut_to_a_row_is_told(db: Database, home: Paths) -> None:
    """A long conversation becomes windows, and a reply longer than a row is learned in pieces."""
    long = Example(tuple(one for number in range(6) for one in said(number).messages), frozenset(range(1, 24, 2)))
    endless = Example((Message("user", "go on"), Message("assistant", "the dog " * 60)), frozenset({1}))
    parts = [("train", said(2)), ("train", long), ("train", endless), ("validation", endless), ("validation", said(3))]
    rows = [StoredExample(part, at, None, one.hash, one.as_json()) for at, (part, one) in enumerate(parts)]
    datasets.add(db, "data", "supervised", "hash", {}, {}, rows)
    done, told = trained(db, home, steps=1, block_tokens=LIMIT)
    assert isinstance(told[0], Planned)
    assert (told[0].windows, told[0].shortened, told[0].too_long) == (3, 2, 0)
    assert (done.result["windows"], done.result["shortened"]) == (3, 2)
    asked = ["train", "--data", "data", "-m", TINY, "--block-tokens", str(LIMIT), "--steps", "1"]
    printed = CliRunner().invoke(top, asked).stdout
    assert "\n".join(cut_lines(3, 2, 0)) in printed


def test_a_budget_decides_the_steps(db: Database, home: Paths) -> None:
    freeze(db)
    with pytest.raises(TrainingRefused, match="are too few"):
        trained(db, home, budget_minutes=1e-7)
    done, told = trained(db, home, budget_minutes=0.05, epochs=100_000)
    assert isinstance(told[0], Planned)
    assert told[0].steps == done.config["shape"]["steps"]
    assert done.result["seconds"] < 6
    assert done.config["shape"]["steps"] < 100_000


def test_adapters_are_pefts_own(db: Database, home: Paths) -> None:
    freeze(db)
    done, _ = trained(db, home, steps=2)
    folder = home.adapters / done.name
    assert sorted(one.name for one in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert len(load_file(folder / "adapter_model.safetensors")) == 2 * 7 * 2
