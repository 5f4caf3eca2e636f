"""A base with an adapter beside it, asked the same one after another."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel

from assistant.errors import TrainingRefused
from finetune import low_rank, pack
from finetune.greedy import InTransformers, Reply, continuation
from finetune.losses import item_sums
from finetune.model import Base, Trainee, device_of, precision_of
from finetune.tokens import Row

GPU_BLOCKS = 8
"""Blocks in one forward pass on a GPU; a CPU is as fast with one."""

Sums = list[list[float]]
"""Of each item's rows the natural logarithm of the probability of their supervised tokens together."""


def sums_of(trainee: Trainee, items: Sequence[Sequence[Row]], device: torch.device) -> Sums:
    """What a model thinks of rows, cut into blocks and in an order that follow from them alone."""
    size = pack.block_tokens(max((len(row.ids) for rows in items for row in rows), default=1))
    blocks = pack.pack(items, size, "evaluation")
    return item_sums(trainee, items, blocks, GPU_BLOCKS if device.type == "cuda" else 1, size, device)


class Compared(Protocol):
    """What can be asked both ways."""

    def sums(self, items: Sequence[Sequence[Row]]) -> tuple[Sums, Sums]:
        """(under the base, under the adapter)."""

    def continuation(self, ids: Sequence[int], tokens: int, *, adapted: bool) -> list[int]:
        """The greedy continuation of a prompt, at most so many tokens."""


@dataclass
class Both:
    """The model as it is trained, with a finished adapter."""

    trainee: Trainee
    device: torch.device

    @classmethod
    def load(cls, base: Base, folder: Path, precision: str = "auto") -> "Both":
        """Raises `TrainingRefused` where PEFT can't put the adapter on the model."""
        device = device_of()
        model = base.load(precision_of(precision, device), device)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of transformers, about what PEFT asks it
                adapted: Any = PeftModel.from_pretrained(model, str(folder))
        except (ValueError, KeyError, RuntimeError, OSError) as error:
            raise TrainingRefused(f"The adapter in {folder} doesn't fit the model: {error}") from error
        low_rank.speed_up(adapted)
        return cls(Trainee(adapted.eval()), device)

    def sums(self, items: Sequence[Sequence[Row]]) -> tuple[Sums, Sums]:
        """See `Compared`. Blocks and their order are the same for both."""
        with self.trainee.base():
            base = sums_of(self.trainee, items, self.device)
        return base, sums_of(self.trainee, items, self.device)

    def continuation(self, ids: Sequence[int], tokens: int, *, adapted: bool) -> list[int]:
        """See `Compared`."""
        ends = self.trainee.language_model.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        with self._as(adapted=adapted) as model:
            return continuation(model, ids, tokens, frozenset(one for one in listed if one is not None))

    def choices(self, replies: Sequence[Reply], *, adapted: bool) -> list[list[int]]:
        """For each place of each reply the token it finds likeliest there."""
        with self._as(adapted=adapted) as model:
            return InTransformers(model).choices(replies)

    @contextmanager
    def _as(self, *, adapted: bool) -> Iterator[Any]:
        if adapted:
            yield self.trainee.model
        else:
            with self.trainee.base():
                yield self.trainee.language_model
