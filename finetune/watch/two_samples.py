"""A mean of what is new beside the same mean of what was kept apart, and how far chance alone would take such figures.

Neither is said to differ where it isn't shown: intervals are 95 % percentile bootstrap (Efron 1979), each side drawn by
itself and whole groups at a time; and a distance, which is above zero for any two samples, is held against those that
come of dealing the same groups out at random (a permutation test).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.prove.measure import by_group, interval, resampled

FEWEST_GROUPS = 10
"""On either side. With fewer the interval is too narrow to be believed."""
DEALS = 499
"""Of the groups, at random; the least share that can be shown is one in 500."""
RARE = 0.01
"""A distance that chance reaches less often than this is no chance: stricter than one figure alone would need."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Items with a sum and a weight each, such as nats and tokens. Those with like `groups` are drawn together."""

    sums: Sequence[float]
    weights: Sequence[float]
    groups: Sequence[object]


@dataclass(frozen=True, slots=True)
class Change:
    """Sum over weight of both sides, and the interval of what is new less what was kept apart."""

    kept: float
    new: float
    difference: float
    low: float
    high: float
    kept_groups: int
    new_groups: int

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, `unclear`, or `too few` to say."""
        if min(self.kept_groups, self.new_groups) < FEWEST_GROUPS:
            return "too few"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "unclear"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def change(kept: Sample, new: Sample, seed: int = 0) -> Change:
    """Compare two samples, neither of them empty."""
    drawn = np.random.default_rng(seed)
    sides = [by_group([one.sums, one.weights], one.groups) for one in (kept, new)]
    means, spread = [], []
    for side in sides:
        total, again = side.sum(0), resampled(side, drawn)
        means.append(float(total[0] / total[1]))
        spread.append(again[:, 0] / again[:, 1])
    low, high = interval(spread[1] - spread[0])
    return Change(means[0], means[1], means[1] - means[0], low, high, len(sides[0]), len(sides[1]))


@dataclass(frozen=True, slots=True)
class Distance:
    """How far what is new lies from what is known. `chance`: the mean of random deals; `share`: of those as far."""

    distance: float
    chance: float
    share: float
    known_groups: int
    new_groups: int

    @property
    def verdict(self) -> str:
        """`other`, `unclear`, or `too few` to say."""
        if min(self.known_groups, self.new_groups) < FEWEST_GROUPS:
            return "too few"
        return "other" if self.share <= RARE else "unclear"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def distance(of: Callable[[NDArray[np.bool_]], float], known: int, new: int, seed: int = 0) -> Distance:
    """`of` gives the distance between the groups marked as new and the others; the last `new` ones are so."""
    marks = np.arange(known + new) >= known
    seen = of(marks)
    drawn = np.random.default_rng(seed)
    dealt = np.array([of(drawn.permutation(marks)) for _ in range(DEALS)])
    share = (1 + int((dealt >= seen).sum())) / (1 + DEALS)
    return Distance(seen, float(dealt.mean()), share, known, new)
