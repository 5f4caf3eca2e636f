"""Drift: the model's loss on new conversations compared with its loss on the frozen test part; neither was learned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from assistant.engine.hardware import placement
from assistant.errors import TrainingRefused
from assistant.store.training.datasets import StoredExample
from finetune.base import Base
from finetune.data.example import Example, Kind
from finetune.data.tokens import Row, Tokenizer
from finetune.network.both import Both, Sums, sums_of
from finetune.network.trainee import Trainee, device_of, precision_of
from finetune.prove.measures import rows_of_test
from finetune.watch.new_in_log import NewInLog
from finetune.watch.two_samples import Change, Sample, change

MOST = 200
"""Most examples measured on either side; of new ones the newest."""


@dataclass(frozen=True, slots=True)
class Drift:
    """`loss`: nats for each supervised token. `gain`: the base's loss minus the adapter's; None without an adapter."""

    loss: Change
    gain: Change | None
    kept_examples: int
    new_examples: int

    @property
    def rise(self) -> tuple[float, float, float]:
        """Relative rise of the perplexity: (measured, low, high)."""
        return math.expm1(self.loss.difference), math.expm1(self.loss.low), math.expm1(self.loss.high)

    def as_json(self) -> dict[str, Any]:
        """The drift as plain JSON, with perplexities."""
        rise, low, high = self.rise
        return {
            "perplexity": {"test": math.exp(self.loss.kept), "new": math.exp(self.loss.new)},
            "rise": {"difference": rise, "low": low, "high": high},
            "loss": self.loss.as_json(),
            "gain": None if self.gain is None else self.gain.as_json(),
            "examples": {"test": self.kept_examples, "new": self.new_examples},
        }


def drift(
    base: Base,
    adapter: Path | None,
    kind: Kind,
    test: Sequence[StoredExample],
    fresh: NewInLog,
    *,
    precision: str = "auto",
    block_tokens: int = 0,
    seed: int = 0,
) -> Drift:
    """Drift of the adapter in that folder, or of the base. Raises `TrainingRefused` if there is nothing to compare or
    the adapter doesn't fit.
    """
    tokenizer = base.tokenizer_of_rows(block_tokens)
    examples = [Example.from_json(one.body) for one in test[-MOST:]]
    kept = _side(kind, examples, [one.group_id for one in test[-MOST:]], tokenizer)
    new = _side(kind, [one.example for one in fresh.candidates[-MOST:]], fresh.groups[-MOST:], tokenizer)
    if not kept.items or not new.items:
        which = "test part has no example" if not kept.items else "new conversations have none"
        raise TrainingRefused(f"Drift can't be measured: the {which} that fits the model's context.")
    before, now = _nats(base, adapter, [*kept.items, *new.items], precision)

    def compared(nats: Sequence[float]) -> Change:
        return change(kept.sample(nats[: len(kept.items)]), new.sample(nats[len(kept.items) :]), seed)

    gained = [one - other for one, other in zip(before, now, strict=True)] if before else None
    return Drift(compared(now), compared(gained) if gained else None, len(kept.items), len(new.items))


@dataclass(frozen=True, slots=True)
class _Side:
    items: Sequence[Sequence[Row]]
    groups: Sequence[int]

    def sample(self, nats: Sequence[float]) -> Sample:
        return Sample(nats, [sum(row.supervised for row in rows) for rows in self.items], self.groups)


def _side(kind: Kind, examples: Sequence[Example], groups: Sequence[int], tokenizer: Tokenizer) -> _Side:
    """Rows of the good reply of each example that fits the context, with the loss mask of a training."""
    good = [place for place, one in enumerate(examples) if one.good]
    rows = rows_of_test(kind, [examples[place] for place in good], tokenizer).items
    found = [(place, some) for place, some in zip(good, rows, strict=True) if some]
    # The first row is that of the chosen reply, or of the right class.
    items = [some if kind == "supervised" else some[:1] for _, some in found]
    return _Side(items, [groups[place] for place, _ in found])


def _nats(
    base: Base, adapter: Path | None, items: Sequence[Sequence[Row]], precision: str
) -> tuple[list[float], list[float]]:
    """Negative log-likelihood of each item: (under the base, under the model in use); the first may be empty."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    device = device_of()
    dtype = precision_of(precision, device)
    if (needed := dtype.itemsize * base.parameters) > (free := placement.free_bytes(device)):
        raise TrainingRefused(f"Drift can't be measured: it needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free.")
    if adapter is not None:
        sums = Both.load(base, adapter, precision).sums(items)
        return _negated(sums[0]), _negated(sums[1])
    return [], _negated(sums_of(Trainee(base.load(dtype, device).eval()), items, device))


def _negated(sums: Sums) -> list[float]:
    return [-sum(one) for one in sums]
