"""Figures of base and adapter in pairs, and how sure they are."""

import math
import random

import pytest

from finetune.prove.paired import FEWEST_GROUPS, gap, perplexity, share, wins


def test_perplexity_is_that_of_all_tokens_together() -> None:
    base, adapted, tokens = [10.0, 30.0], [8.0, 20.0], [5, 20]
    one = perplexity("p", "p", base, adapted, tokens, [0, 1])
    assert one.base == pytest.approx(math.exp(40 / 25))
    assert one.adapted == pytest.approx(math.exp(28 / 25))
    assert one.difference == pytest.approx(one.adapted / one.base - 1)
    assert one.low <= one.difference <= one.high
    assert one.verdict == "too few"


@pytest.mark.parametrize(
    ("gain", "noise", "verdict"), [(1.0, 0.1, "better"), (-1.0, 0.1, "worse"), (0.0, 1.0, "unclear")]
)
def test_what_an_interval_shows(gain: float, noise: float, verdict: str) -> None:
    drawn = random.Random(1)
    base = [drawn.uniform(20, 40) for _ in range(60)]
    adapted = [value - 10 * (gain + noise * drawn.gauss(0, 1)) for value in base]
    found = perplexity("p", "p", base, adapted, [10] * 60, range(60))
    assert found.verdict == verdict
    assert found == perplexity("p", "p", base, adapted, [10] * 60, range(60))
    assert found.low != perplexity("p", "p", base, adapted, [10] * 60, range(60), seed=1).low


def test_doubles_make_nothing_surer() -> None:
    drawn = random.Random(2)
    right = [float(drawn.random() < 0.6) for _ in range(30)]
    once = share("a", "a", [0.5] * 30, right, range(30))
    doubled = share("a", "a", [0.5] * 300, right * 10, [*range(30)] * 10)
    apart = share("a", "a", [0.5] * 300, right * 10, range(300))
    assert (doubled.low, doubled.high) == pytest.approx((once.low, once.high))
    assert apart.high - apart.low < (once.high - once.low) / 2


def test_a_few_conversations_show_nothing() -> None:
    few = FEWEST_GROUPS - 1
    assert share("a", "a", [0.0] * few, [1.0] * few, range(few)).verdict == "too few"
    assert share("a", "a", [0.0] * 5, [1.0] * 5, range(5)).verdict == "better"


def test_wins_are_against_one_half() -> None:
    found = wins("v", "v", [1, 1, 1, 1, 1, 1, 0.5, 1], range(8))
    assert (found.base, found.adapted) == pytest.approx((0.0625, 0.9375))
    assert found.difference == pytest.approx(0.4375)
    assert found.verdict == "better"


def test_a_gap_is_closed_by_its_share() -> None:
    drawn = random.Random(2)
    base = [drawn.uniform(30, 40) for _ in range(40)]
    prompted = [value - drawn.uniform(8, 12) for value in base]
    adapted = [value - 0.75 * (value - wanted) for value, wanted in zip(base, prompted, strict=True)]
    found = gap(base, adapted, prompted, [10] * 40, range(40))
    assert found.is_sure and found.closed is not None and found.low is not None and found.high is not None
    assert (found.closed, found.low, found.high) == (pytest.approx(0.75), pytest.approx(0.75), pytest.approx(0.75))
    assert found.remaining == pytest.approx((sum(adapted) - sum(prompted)) / 400)
    assert found.remaining_low < found.remaining < found.remaining_high
    assert (found.base, found.items, found.groups) == (pytest.approx(sum(base) / 400), 40, 40)


def test_where_there_is_no_gap_for_sure_no_share_is_told() -> None:
    drawn = random.Random(3)
    base = [drawn.uniform(30, 40) for _ in range(40)]
    prompted = [value + drawn.gauss(0, 1) for value in base]
    found = gap(base, base, prompted, [10] * 40, [number // 10 for number in range(40)])
    assert (found.closed, found.low, found.high) == (None, None, None)
    assert not found.is_sure and found.groups == 4
