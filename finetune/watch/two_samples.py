"""Two-sample tests: compare a mean, or a distance, of new conversations with held-out ones, against chance.

A difference is reported only if it is shown: intervals are 95 % percentile bootstrap (Efron 1979), each side resampled
separately by groups; a distance, which is positive for any two samples, is compared with those of random assignments of
the same groups (a permutation test).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.prove.paired import by_group, interval, resampled

FEWEST_GROUPS = 10
"""Fewest groups on either side: with fewer the interval would be too narrow."""
DEALS = 499
"""Random permutations of the groups; the smallest share that can result is one in 500."""
RARE = 0.01
"""Largest share of permutations with as large a distance: stricter than 0.05, as several figures are tested."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Items with a sum and a weight each, such as nats and tokens. Items of a group are resampled together."""

    sums: Sequence[float]
    weights: Sequence[float]
    groups: Sequence[object]


@dataclass(frozen=True, slots=True)
class Change:
    """Mean (sum over weight) of both sides, and the interval of new minus kept."""

    kept: float
    new: float
    difference: float
    low: float
    high: float
    kept_groups: int
    new_groups: int

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, `unclear`, or `too few` (groups)."""
        if min(self.kept_groups, self.new_groups) < FEWEST_GROUPS:
            return "too few"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "unclear"

    def as_json(self) -> dict[str, Any]:
        """The change as plain JSON, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def change(kept: Sample, new: Sample, seed: int = 0) -> Change:
    """Compare two non-empty samples."""
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
    """Distance of new from known groups. `chance`: mean of the permutations; `share`: of those with as large a one."""

    distance: float
    chance: float
    share: float
    known_groups: int
    new_groups: int

    @property
    def verdict(self) -> str:
        """`other`, `unclear`, or `too few` (groups)."""
        if min(self.known_groups, self.new_groups) < FEWEST_GROUPS:
            return "too few"
        return "other" if self.share <= RARE else "unclear"

    def as_json(self) -> dict[str, Any]:
        """The distance as plain JSON, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def distance(of: Callable[[NDArray[np.bool_]], float], known: int, new: int, seed: int = 0) -> Distance:
    """Permutation test. `of` returns the distance of the marked groups from the others; the last `new` are marked."""
    marks = np.arange(known + new) >= known
    seen = of(marks)
    drawn = np.random.default_rng(seed)
    dealt = np.array([of(drawn.permutation(marks)) for _ in range(DEALS)])
    share = (1 + int((dealt >= seen).sum())) / (1 + DEALS)
    return Distance(seen, float(dealt.mean()), share, known, new)
