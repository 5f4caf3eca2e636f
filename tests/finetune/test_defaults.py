from dataclasses import replace
from typing import Any

import pytest

from assistant.errors import TrainingRefused
from finetune import defaults, plan
from finetune.config import TrainConfig
from finetune.plan import Measured, Shape

SHAPE = Shape(1024, 2048, 2048, 400, 50)


@pytest.mark.parametrize(
    ("settings", "width", "objective", "rate"),
    [
        ({}, 576, "supervised", 1e-3),
        ({}, 2048, "supervised", 3.7e-4),
        ({}, 576, "dpo", 2e-4),
        ({"method": "full"}, 576, "supervised", 1e-4),
        ({"method": "ia3"}, 576, "kto", 5e-3),
        ({}, 64, "entities", 1e-3),
        ({"learning_rate": 5e-5}, 576, "supervised", 5e-5),
    ],
)
def test_the_rate_follows_from_method_width_and_objective(
    settings: dict[str, Any], width: int, objective: str, rate: float
) -> None:
    assert defaults.suited(TrainConfig(**settings), width, objective).learning_rate == pytest.approx(rate)


@pytest.mark.parametrize(("tokens", "per_step"), [(0, 1024), (210_000, 1024), (410_000, 2048), (10**9, 4096)])
def test_a_longer_training_has_larger_steps(tokens: int, per_step: int) -> None:
    assert defaults.tokens_per_step(TrainConfig(), tokens) == per_step
    assert defaults.tokens_per_step(TrainConfig(tokens_per_step=512), tokens) == 512


def test_a_budget_decides_steps_and_their_size() -> None:
    config = TrainConfig(budget_minutes=1)
    short = plan.within_budget(SHAPE, Measured(1000, 0.5), config)
    assert (short.tokens_per_step, short.steps) == (1024, 47)
    enough = plan.within_budget(SHAPE, Measured(1e6, 0.5), config)
    assert enough.tokens_per_step * enough.steps == 2048 * 400, "no more than was planned"
    one = replace(SHAPE, tokens_per_step=1024, steps=1)
    assert plan.within_budget(one, Measured(1000, 0.5), config).steps == 1
    with pytest.raises(TrainingRefused, match=r"Give --budget 0\.2 or more"):
        plan.within_budget(SHAPE, Measured(100, 0.5), TrainConfig(budget_minutes=0.1))
