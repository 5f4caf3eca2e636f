"""The memory that is expected of a training, beside what a process of its own takes for its first steps."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assistant.paths import Paths
from tests.matrix import matrix

ROOT = Path(__file__).parents[3]
SHAPES: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "activations computed again": {"checkpointing": True},
    "rank 64, long passes": {"rank": 64, "tokens_at_once": 4096, "tokens_per_step": 4096},
    "float32": {"precision": "float32", "tokens_at_once": 1024},
    "DoRA, by transformers": {"method": "dora"},
}


def measure(folder: str, settings: dict[str, Any]) -> None:
    """Print (expected, measured) bytes of a training's first steps, as JSON."""
    import torch
    from accelerate import Accelerator

    from finetune import plan
    from finetune.base import Base
    from finetune.config import TrainConfig
    from finetune.data.example_files import from_file
    from finetune.data.lessons import lessons
    from finetune.data.select import Selection
    from finetune.network import llama, losses, trainable
    from finetune.network.trainee import precision_of
    from finetune.run_folder import RunFolder
    from finetune.train import memory
    from finetune.train.trainer import Trainer

    cpu, base = torch.device("cpu"), Base.open(Path(folder))
    config = TrainConfig(learning_rate=1e-4, steps=2, **settings)
    from collections import Counter

    found = from_file(ROOT / "tests" / "data" / "conversations.jsonl", Selection(everything=True), Counter())
    learned = lessons("supervised", [one.example for one in found], base.tokenizer_of_rows(), 0)
    shape = plan.shape(learned, config, cpu, own=llama.computes(base.config, config))
    expected = memory.expected_bytes(base, config, shape, cpu)
    model = trainable.prepare(base.load(precision_of(config.precision, cpu), cpu), config, 2, "base")
    objective, run_folder = losses.objective(learned, [], config), RunFolder
    trainer = Trainer(
        Accelerator(cpu=True),
        model,
        config,
        shape,
        learned,
        objective,
        learned,
        objective,
        run_folder,  # type: ignore[arg-type]
    )
    trainer.trainee.train()
    for _, blocks in zip(range(2), plan.steps_of_blocks(learned, shape, 0, 0), strict=False):
        trainer._step(blocks)
    sys.stdout.write(json.dumps([expected, memory.peak_bytes(cpu)]))


@pytest.mark.slow
@pytest.mark.parametrize("name", matrix(SHAPES))
def test_expected_memory_is_what_is_taken(real_home: Paths, name: str) -> None:
    folder = real_home.models / "smollm2-135m-instruct"
    code = f"from tests.finetune.train.test_memory import measure; measure({str(folder)!r}, {SHAPES[name]!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    expected, measured = json.loads(done.stdout.splitlines()[-1])
    assert expected == pytest.approx(measured, rel=0.25), f"{expected / measured:.2f}"
