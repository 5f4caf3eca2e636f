"""Paired figures of base and adapter on the same examples, with the interval of their difference.

Intervals are 95 % percentile bootstrap (Efron 1979) over groups: a conversation and its near-duplicates are drawn
together, base and adapter as pairs, so that neither long conversations nor duplicates make a result look too certain.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000
FEWEST_GROUPS = 5
"""Groups below which no verdict is given: resampling two or three conversations gives no estimate."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of both. `difference`, `low`, `high`: relative for perplexity, absolute for shares. `main`: decides."""

    key: str
    name: str
    base: float
    adapted: float
    difference: float
    low: float
    high: float
    relative: bool
    lower_is_better: bool
    main: bool
    items: int
    groups: int

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `unclear`, or `too few` (groups)."""
        if self.groups < FEWEST_GROUPS:
            return "too few"
        best, worst = (-self.high, -self.low) if self.lower_is_better else (self.low, self.high)
        return "better" if best > 0 else "worse" if worst < 0 else "unclear"

    def as_json(self) -> dict[str, Any]:
        """The measure as plain JSON, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def perplexity(
    key: str,
    name: str,
    base: Sequence[float],
    adapted: Sequence[float],
    tokens: Sequence[int],
    groups: Sequence[object],
    *,
    main: bool = False,
    seed: int = 0,
) -> Measure:
    """Perplexity, from each example's negative log-likelihood in nats under base and adapter, and its tokens."""
    before, after, low, high = _bootstrap(base, adapted, tokens, groups, seed)
    difference, low, high = (math.expm1(value) for value in (after - before, low, high))
    return Measure(
        key,
        name,
        math.exp(before),
        math.exp(after),
        difference,
        low,
        high,
        relative=True,
        lower_is_better=True,
        main=main,
        items=len(base),
        groups=len(set(groups)),
    )


def share(
    key: str,
    name: str,
    base: Sequence[float],
    adapted: Sequence[float],
    groups: Sequence[object],
    *,
    main: bool = False,
    seed: int = 0,
) -> Measure:
    """A mean, from each example's score from 0 to 1 under base and adapter, such as whether it was right."""
    before, after, low, high = _bootstrap(base, adapted, [1] * len(base), groups, seed)
    return Measure(key, name, before, after, after - before, low, high, False, False, main, len(base), len(set(groups)))


def wins(key: str, name: str, won: Sequence[float], groups: Sequence[object], *, seed: int = 0) -> Measure:
    """Share of pairs that the adapter won, compared with one half. `won`: 1 for the adapter, 0 for the base, 0.5 for a
    tie.

    `base` is the base's share; the difference is the adapter's share minus one half.
    """
    _, after, low, high = _bootstrap([0.5] * len(won), won, [1] * len(won), groups, seed)
    return Measure(key, name, 1 - after, after, after - 0.5, low, high, False, False, False, len(won), len(set(groups)))


@dataclass(frozen=True, slots=True)
class Gap:
    """How much of a prompt's effect is reached without it. Nats per token of the same replies: `base` and `adapted`
    without the prompt, `prompted` under the base with it.

    `closed`: the share of `base - prompted` that the adapter closes, with interval `low` to `high`; None if the gap may
    be zero. `remaining`: `adapted - prompted`, negative if the adapter does better than the prompt.
    """

    base: float
    adapted: float
    prompted: float
    closed: float | None
    low: float | None
    high: float | None
    remaining: float
    remaining_low: float
    remaining_high: float
    items: int
    groups: int

    @property
    def is_sure(self) -> bool:
        """Whether there are enough groups for the intervals."""
        return self.groups >= FEWEST_GROUPS


def gap(
    base: Sequence[float],
    adapted: Sequence[float],
    prompted: Sequence[float],
    tokens: Sequence[int],
    groups: Sequence[object],
    *,
    seed: int = 0,
) -> Gap:
    """The gap, from each example's three negative log-likelihoods in nats and its tokens."""
    sums = by_group([base, adapted, prompted, tokens], groups)
    whole, drawn = sums.sum(0), resampled(sums, np.random.default_rng(seed))
    before, after, wanted, _ = (whole / whole[3]).tolist()
    apart = drawn[:, 0] - drawn[:, 2]
    closed: tuple[float | None, float | None, float | None] = None, None, None
    if (apart > 0).all():
        closed = (before - after) / (before - wanted), *interval((drawn[:, 0] - drawn[:, 1]) / apart)
    remaining = after - wanted, *interval((drawn[:, 1] - drawn[:, 2]) / drawn[:, 3])
    return Gap(before, after, wanted, *closed, *remaining, len(base), len(sums))


def _bootstrap(
    base: Sequence[float], adapted: Sequence[float], weights: Sequence[int], groups: Sequence[object], seed: int
) -> tuple[float, float, float, float]:
    """(mean of the base, of the adapter, low, high of the difference); means are sums over the sum of weights."""
    sums = by_group([base, adapted, weights], groups)
    (before, after, weight), drawn = sums.sum(0), resampled(sums, np.random.default_rng(seed))
    low, high = interval((drawn[:, 1] - drawn[:, 0]) / drawn[:, 2])
    return (before / weight).item(), (after / weight).item(), low, high


def by_group(columns: Sequence[Sequence[float]], groups: Sequence[object]) -> np.ndarray:
    """Columns (C, items) -> their sums by group (groups, C)."""
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    at = np.array([places[group] for group in groups])
    return np.stack([np.bincount(at, np.asarray(values, dtype=float)) for values in columns], 1)


def resampled(sums: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    """Bootstrap: sums (groups, C) -> totals of groups drawn with replacement (RESAMPLES, C)."""
    count = len(sums)
    return np.stack([sums[drawn.integers(count, size=count)].sum(0) for _ in range(RESAMPLES)])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Percentile interval at `CONFIDENCE`."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return low.item(), high.item()
