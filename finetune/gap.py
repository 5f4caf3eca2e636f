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

from finetune.measure import CONFIDENCE, RESAMPLES

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

    def by_group(self) -> NDArray[np.float64]:
        """(2, groups): sums and weights."""
        places = {group: place for place, group in enumerate(dict.fromkeys(self.groups))}
        at = [places[group] for group in self.groups]
        return np.stack([np.bincount(at, np.asarray(some, dtype=float)) for some in (self.sums, self.weights)])


@dataclass(frozen=True, slots=True)
class Gap:
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


def gap(kept: Sample, new: Sample, seed: int = 0) -> Gap:
    """Compare two samples, neither of them empty."""
    drawn = np.random.default_rng(seed)
    sides = [one.by_group() for one in (kept, new)]
    means = [float(one[0].sum() / one[1].sum()) for one in sides]
    resampled = [_resampled(one, drawn) for one in sides]
    low, high = np.quantile(resampled[1] - resampled[0], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    counts = [one.shape[1] for one in sides]
    return Gap(means[0], means[1], means[1] - means[0], float(low), float(high), counts[0], counts[1])


def _resampled(side: NDArray[np.float64], drawn: np.random.Generator) -> NDArray[np.float64]:
    count = side.shape[1]
    means = []
    for _ in range(RESAMPLES):
        sums = side[:, drawn.integers(count, size=count)].sum(axis=1)
        means.append(sums[0] / sums[1])
    return np.array(means)


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
