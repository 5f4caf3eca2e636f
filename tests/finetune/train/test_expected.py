"""What is said of a training, and what is refused, before torch is loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.engine.hardware import machine, product_speed
from assistant.engine.models import catalogue
from assistant.errors import AssistantError
from assistant.paths import Paths, cache_folder
from assistant.store.database import open_database
from assistant.store.training import datasets, runs
from assistant.store.training.datasets import StoredExample
from finetune.config import TrainConfig
from finetune.run_folder import only_training
from finetune.train.expected import OF_PRODUCTS, PASSES, by_products, expected
from tests.assistant.engine import tiny

FIGURES = {"tokens": 100_000, "supervised_share": 0.5, "examples": {"train": 80, "validation": 10, "test": 10}}
BODY = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "trained": true}]}'


@pytest.fixture
def home(empty_home: Paths) -> Paths:
    """Without the speed that was measured on this machine."""
    return empty_home


@pytest.fixture
def db(home: Paths, tmp_path: Path) -> Database:
    folder = tiny.save(tmp_path / "little", "llama")
    (folder / "tokenizer.json").touch()
    catalogue.add_path(home, "little", folder)
    log = open_database(home.database)
    frozen(log, "mine", 80)
    return log


def frozen(db: Database, name: str, train: int) -> None:
    parts = ["train"] * train + ["validation"] * 10 + ["test"] * 10
    examples = [StoredExample(part, place, None, f"{place}", BODY) for place, part in enumerate(parts)]
    datasets.add(db, name, "supervised", "0" * 64, {}, FIGURES, examples)


def test_tokens_steps_and_time_of_a_frozen_dataset(db: Database, home: Paths) -> None:
    found = expected(db, home, "mine", "little", TrainConfig(epochs=2, tokens_per_step=1000))
    assert (found.examples, found.tokens, found.steps, found.seconds) == (80, 160_000, 160, None)


def test_a_budget_cuts_the_steps_once_a_training_has_shown_the_speed(db: Database, home: Paths) -> None:
    dataset = datasets.get(db, "mine")
    told = {"settings": TrainConfig().as_json()}
    run = runs.add(db, "mine", dataset.id, dataset.hash, "little", "", told)
    for step, speed in enumerate((100.0, 1000.0, 1000.0)):
        runs.add_point(db, run.id, step, {"tokens_per_s": speed})
    whole = expected(db, home, "mine", "little", TrainConfig(epochs=1, tokens_per_step=1000))
    assert whole.seconds == pytest.approx(1.1 * 80)
    cut = expected(db, home, "mine", "little", TrainConfig(epochs=1, tokens_per_step=1000, budget_minutes=0.5))
    assert cut.steps < whole.steps and cut.seconds == pytest.approx(27, abs=2)
    short = TrainConfig(epochs=1, tokens_per_step=100_000, budget_minutes=0.17)
    assert expected(db, home, "mine", "little", short).steps == 1  # only what is measured refuses


def test_without_a_training_the_speed_of_products_counts(db: Database, home: Paths) -> None:
    cache_folder().mkdir()
    entry = {"dtype": "torch.bfloat16", "flops_per_s": 1e12}
    (cache_folder() / machine.SPEEDS).write_text(json.dumps({f"2.13 {machine.cpu_name()} 2": entry}))
    assert expected(db, home, "mine", "little", TrainConfig()).seconds
    (cache_folder() / machine.SPEEDS).write_text("[")
    assert expected(db, home, "mine", "little", TrainConfig()).seconds is None


def test_what_can_be_refused_is_refused(db: Database, home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen(db, "empty", 0)

    def refused(dataset: str, model: str = "little") -> str:
        with pytest.raises(AssistantError) as error:
            expected(db, home, dataset, model, TrainConfig())
        return str(error.value)

    assert "There is no dataset 'other'" in refused("other")
    assert "nothing in its training part" in refused("empty")
    assert "unknown-model" in refused("mine", "unknown-model")
    with only_training(home):
        assert "A training is running already" in refused("mine")
    monkeypatch.setattr(machine, "look", lambda: machine.Machine(1 << 20, 1 << 10, 1))
    assert "weights alone take" in refused("mine")


@pytest.mark.usefixtures("db")
def test_it_loads_no_torch() -> None:
    script = (
        "import sys; from assistant.paths import Paths; from assistant.store.database import open_database; "
        "from finetune.config import TrainConfig; from finetune.train.expected import expected; "
        "paths = Paths.from_environment(); db = open_database(paths.database); "
        "expected(db, paths, 'mine', 'little', TrainConfig()); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("tokens_per_s", "forgotten"), [(100, False), (30, False), (20, True), (500, True)])
def test_a_speed_of_products_that_a_training_contradicts_is_measured_again(
    tokens_per_s: float, *, forgotten: bool
) -> None:
    from finetune.train import trainer_setup as setup

    file = cache_folder() / machine.SPEEDS
    file.parent.mkdir(parents=True, exist_ok=True)
    flops_per_s = 100 * 1000 * PASSES / OF_PRODUCTS
    file.write_text(json.dumps({product_speed._machine(): {"dtype": "torch.float32", "flops_per_s": flops_per_s}}))
    assert by_products(1000) == pytest.approx(100)
    setup.doubt_products(tokens_per_s, 1000)
    assert (by_products(1000) == 0) == forgotten
