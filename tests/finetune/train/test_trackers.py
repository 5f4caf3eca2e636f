"""The course of a training as TensorBoard reads it back, and what happens without the packages."""

import json
import subprocess
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import runs
from finetune.cli.group import top
from finetune.config import TrainConfig
from finetune.progress import Progress, Stepped, Validated
from finetune.run_folder import RunFolder
from finetune.train import checkpoint, run, trackers
from tests.finetune.conftest import TINY, freeze
from tests.finetune.train.test_train import stopped_after, trained

TENSORBOARD: dict[str, Any] = {"trackers": ("tensorboard",)}


def read(home: Paths, name: str) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each curve of a run, as TensorBoard draws them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(RunFolder(home, name).path / "tensorboard"))
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def said(told: list[Progress], name: str) -> list[tuple[int, Any]]:
    return [(one.step, pytest.approx(getattr(one, name), rel=1e-6)) for one in told if isinstance(one, Stepped)]


def test_tensorboard_has_what_was_said(db: Database, home: Paths) -> None:
    freeze(db)
    done, told = trained(db, home, steps=4, validate_every=2, **TENSORBOARD)
    curves = read(home, done.name)
    for name in ("loss", "learning_rate", "gradient_norm", "tokens_per_s"):
        assert curves[name] == said(told, name)
    assert curves["validation_loss"] == [(one.step, pytest.approx(one.loss)) for one in told if type(one) is Validated]
    (settings,) = RunFolder(home, done.name).path.glob("tensorboard/*/hparams.yml")
    text = settings.read_text(encoding="utf-8")
    assert "settings.rank: 4" in text and "dataset.name: data" in text and done.base_hash in text
    assert runs.points(db, done.id)[-1][1]["gradient_norm"] == curves["gradient_norm"][-1][1]


def test_a_resumed_run_goes_on_in_the_same_curves(db: Database, home: Paths) -> None:
    """What a kill threw away is drawn once, as it was done again."""
    freeze(db)
    part, first = stopped_after(3, db, home, steps=6, validate_every=99, **TENSORBOARD)
    folder = RunFolder(home, part.name)
    state = checkpoint.latest(folder.checkpoints)
    assert state is not None and state.step == 3
    rest: list[Progress] = []
    run.resume(db, home, part.name, rest.append)
    assert read(home, part.name)["loss"] == said(first, "loss") + said(rest, "loss")
    assert len(list(folder.path.glob("tensorboard/*/hparams.yml"))) == 1


def test_steps_that_a_kill_lost_are_drawn_once(home: Paths) -> None:
    folder = RunFolder(home, "killed").create()
    for step, values in ((0, (9.0, 8.0, 7.0)), (1, (5.0, 4.0))):
        tracked = trackers.Trackers()
        with tracked.started(("tensorboard",), folder, "killed", step, {}):
            for at, loss in enumerate(values, step + 1):
                tracked.log(Validated(at, loss, best=True))
    assert read(home, "killed")["validation_loss"] == [(1, 9.0), (2, 5.0), (3, 4.0)]


def test_a_missing_package_is_told_before_the_training(
    db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(db)
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else find_spec(name))
    with pytest.raises(TrainingRefused, match=r"--trackers wandb .* pip install 'assistant-loop\[wandb\]'"):
        trained(db, home, steps=1, trackers=("tensorboard", "wandb"))
    assert not runs.every(db)
    with pytest.raises(TrainingRefused, match="tracker 'mlflow' is unknown"):
        TrainConfig(trackers=("mlflow",))


def test_a_folder_of_that_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(trackers, "find_spec", lambda name: PathFinder.find_spec(name, [str(tmp_path)]))
    with pytest.raises(TrainingRefused, match="--trackers wandb"):
        trackers.refuse_missing(TrainConfig(trackers=("wandb",)))


def test_the_option_takes_commas(db: Database, home: Paths) -> None:
    freeze(db)
    asked = ["train", "--data", "data", "-m", TINY, "--steps", "1", "--trackers", "tensorboard,tensorboard", "--json"]
    told = CliRunner().invoke(top, asked)
    assert told.exit_code == 0, told.output
    name = json.loads(told.stdout.splitlines()[-1])["run"]
    assert runs.get(db, name).config["settings"]["trackers"] == ["tensorboard"]
    assert [step for step, _ in read(home, name)["loss"]] == [1]


def test_nothing_is_imported_that_was_not_asked_for(db: Database) -> None:
    freeze(db)
    code = (
        "import sys; from click.testing import CliRunner; from finetune.cli.group import top\n"
        f"told = CliRunner().invoke(top, ['train', '--data', 'data', '-m', '{TINY}', '--steps', '1'])\n"
        "assert told.exit_code == 0, told.output\n"
        "print([one for one in ('tensorboard', 'wandb') if one in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_stays_offline_in_the_runs_folder(db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    freeze(db)
    part, _ = stopped_after(2, db, home, steps=3, trackers=("wandb",))
    run.resume(db, home, part.name, lambda _: None)
    written = RunFolder(home, part.name).path.glob(f"wandb/offline-run-*/run-{part.name}.wandb")
    sessions = [one.read_bytes() for one in written]
    assert len(sessions) == 2 and all(b"gradient_norm" in one for one in sessions)
