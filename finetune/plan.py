"""What a training will do: how many steps of how many blocks, and what it will take."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from assistant.errors import TrainingRefused
from finetune import pack
from finetune.config import TrainConfig
from finetune.lessons import Lessons
from finetune.pack import Block

CPU_TOKENS_AT_ONCE, GPU_TOKENS_AT_ONCE = 512, 8192
"""Tokens of a forward pass: on a CPU more are no faster, on a GPU they fill it."""
LOOKS = 10
"""At the validation loss, in a training."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How examples become steps. It is kept with a run: a resumed one must cut its data as before."""

    block_tokens: int
    blocks_at_once: int
    blocks_per_step: int
    steps: int
    validate_every: int

    @classmethod
    def from_json(cls, fields: Mapping[str, int]) -> "Shape":
        """What `as_json` made."""
        return cls(**fields)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Measured:
    """A step as it was measured before the first: its seconds, those of a look at the validation part, its tokens."""

    step_s: float
    look_s: float
    tokens: int
    supervised_tokens: int


def shape(lessons: Lessons, config: TrainConfig, device: torch.device) -> Shape:
    """The shape for these lessons."""
    tokens = pack.block_tokens(lessons.longest, config.block_tokens)
    blocks = pack.pack(lessons.items, tokens, epoch_seed(config.seed, 0))
    per_step = max(1, round(config.tokens_per_step / tokens))
    wanted = config.tokens_at_once or (CPU_TOKENS_AT_ONCE if device.type == "cpu" else GPU_TOKENS_AT_ONCE)
    at_once = max(1, min(per_step, wanted // tokens))
    per_step = -(-per_step // at_once) * at_once
    steps = config.steps or max(1, math.ceil(config.epochs * len(blocks) / per_step))
    every = config.validate_every or max(1, math.ceil(steps / LOOKS))
    return Shape(tokens, at_once, per_step, steps, every)


def steps_within(shape_: Shape, measured: Measured, budget_minutes: float) -> int:
    """The most steps that a budget has room for, a tenth of it left over. Raises `TrainingRefused` for none at all."""
    step_s, look_s = measured.step_s, measured.look_s
    seconds = 54 * budget_minutes
    steps = min(shape_.steps, int((seconds - LOOKS * look_s) / step_s))
    if steps < 1:
        least = (LOOKS * look_s + step_s) / 54
        raise TrainingRefused(
            f"One step takes {step_s:.0f} s and a look at the validation part {look_s:.0f} s: {budget_minutes:g} "
            f"minutes are too few. Give --budget {math.ceil(least)} or more."
        )
    return steps


def epoch_seed(seed: int, epoch: int) -> str:
    """What decides the order of one epoch."""
    return f"{seed} epoch {epoch}"


def steps_of_blocks(lessons: Lessons, shape_: Shape, seed: int, begin: int) -> Iterator[list[Block]]:
    """The blocks of each step from step `begin` on, epoch after epoch, without end."""
    waiting: list[Block] = []
    skip, epoch = begin * shape_.blocks_per_step, 0
    while True:
        blocks = pack.pack(lessons.items, shape_.block_tokens, epoch_seed(seed, epoch))
        epoch += 1
        skipped = min(skip, len(blocks))
        skip -= skipped
        waiting += blocks[skipped:]
        while len(waiting) >= shape_.blocks_per_step:
            yield waiting[: shape_.blocks_per_step]
            waiting = waiting[shape_.blocks_per_step :]
