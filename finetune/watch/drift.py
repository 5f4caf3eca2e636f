"""Whether a model does worse on what is said now than on what it was tested with: loss on new conversations beside loss
on the frozen test part, neither of which it has learned from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from assistant.engine import placement
from assistant.errors import TrainingRefused
from assistant.store.training.datasets import StoredExample
from finetune.base import Base
from finetune.data.example import Example, Kind
from finetune.data.tokens import Row, Tokenizer
from finetune.network.both import Both, Sums, sums_of
from finetune.network.model import Trainee, device_of, precision_of
from finetune.prove.on_test import rows_of_test
from finetune.watch.fresh import Fresh
from finetune.watch.two_samples import Change, Sample, change

MOST = 200
"""Examples that are measured on either side: of the new ones the newest."""


@dataclass(frozen=True, slots=True)
class Drift:
    """`loss`: nats for each learned token. `gain`: how many the adapter has less than its base; None without one."""

    loss: Change
    gain: Change | None
    kept_examples: int
    new_examples: int

    @property
    def rise(self) -> tuple[float, float, float]:
        """Of the perplexity, relative: (as measured, low, high)."""
        return math.expm1(self.loss.difference), math.expm1(self.loss.low), math.expm1(self.loss.high)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, the perplexities too."""
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
    fresh: Fresh,
    *,
    precision: str = "auto",
    block_tokens: int = 0,
    seed: int = 0,
) -> Drift:
    """Of the adapter in that folder, or of the base alone. Raises `TrainingRefused` where there is nothing to compare,
    or where the adapter doesn't fit.
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
    """What is good to say of each example, by the very masks of a training; of those alone that fit the context."""
    good = [place for place, one in enumerate(examples) if one.good]
    rows = rows_of_test(kind, [examples[place] for place in good], tokenizer).items
    found = [(place, some) for place, some in zip(good, rows, strict=True) if some]
    # The first row is of the chosen reply, or of the right class.
    items = [some if kind == "supervised" else some[:1] for _, some in found]
    return _Side(items, [groups[place] for place, _ in found])


def _nats(
    base: Base, adapter: Path | None, items: Sequence[Sequence[Row]], precision: str
) -> tuple[list[float], list[float]]:
    """Negative log-likelihood of each item under (the base, the model in use); of the base none where it is in use."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    device = device_of()
    dtype = precision_of(precision, device)
    if (needed := dtype.itemsize * base.parameters) > (free := placement.free_bytes(device)):
        raise TrainingRefused(f"Drift can't be measured: it takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free.")
    if adapter is not None:
        sums = Both.load(base, adapter, precision).sums(items)
        return _each(sums[0]), _each(sums[1])
    return [], _each(sums_of(Trainee(base.load(dtype, device).eval()), items, device))


def _each(sums: Sums) -> list[float]:
    return [-sum(one) for one in sums]
