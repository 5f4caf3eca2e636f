"""How many conversations are enough: the estimate against intervals that are really drawn."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from finetune.data.split import FEWEST_TO_TEST, size_of_test
from finetune.prove.measure import Measure, perplexity
from finetune.prove.power import FINEST, PRIOR_CONVERSATIONS, Estimate, rounded, smallest, spread_of, to_judge, to_test

TOKENS_EACH = 20


def drawn(groups: int, difference: float, spread: float, seed: int) -> Measure:
    """The measure of conversations whose differences have that mean and spread, in nats a token."""
    choose = random.Random(seed)
    base = [choose.uniform(50, 80) for _ in range(groups)]
    adapted = [one + TOKENS_EACH * choose.gauss(difference, spread) for one in base]
    return perplexity("perplexity", "p", base, adapted, [TOKENS_EACH] * groups, range(groups), main=True, seed=seed)


def report(one: Measure) -> dict[str, Any]:
    """As `finetune.prove.prove` makes it."""
    return {"test": {"tokens": TOKENS_EACH * one.groups}, "measures": [one.as_json()]}


def test_the_interval_is_clear_of_zero_about_where_it_was_predicted() -> None:
    """With as many conversations as predicted half of the intervals show the change, with four times as many all but
    one in forty.
    """
    change = math.log(0.9)
    for spread in (0.2, 0.4):
        past = [report(drawn(200, change, spread, seed)) for seed in range(3)]
        needed = to_test(spread_of(past), TOKENS_EACH)
        shown, sure = (
            [drawn(times * needed, change, spread, seed).verdict == "better" for seed in range(100, 140)]
            for times in (1, 4)
        )
        assert 12 < sum(shown) < 30
        assert sum(sure) >= 36


def test_the_spread_follows_the_evaluations_and_begins_with_the_usual() -> None:
    assert spread_of([]) == 1
    wide, narrow = ([report(drawn(60, -0.1, spread, seed)) for seed in range(6)] for spread in (1.5, 0.02))
    assert spread_of(wide) > 2 and spread_of(narrow) < 0.5
    assert spread_of(wide[:1]) < spread_of(wide), "a few conversations weigh less against the usual"
    one = drawn(60, -0.1, 0.0, 0)
    for groups, spread in ((1, 1.0), (PRIOR_CONVERSATIONS, math.sqrt(0.5))):  # a single conversation has no spread
        assert spread_of([report(replace(one, groups=groups))]) == pytest.approx(spread)
    assert spread_of([report(replace(one, main=False)), report(replace(one, key="accuracy"))]) == 1


def test_a_wider_spread_shorter_replies_and_a_smaller_gain_take_more() -> None:
    assert to_test(0.5, 20) < to_test(1, 20) < to_test(2, 20)
    assert to_test(9, 400) < to_test(9, 40) < to_test(9, 20)
    assert to_test(9, 20, 0.3) < to_test(9, 20, 0.1) < to_test(9, 20, 0.03)
    assert to_test(0.01, 20) == FEWEST_TO_TEST
    assert to_test(1, 0) == to_test(1, 20), "of nothing but empty replies"


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_the_smallest_gain_is_the_one_that_as_many_are_needed_for(spread: float) -> None:
    for gain in (0.02, 0.1, 0.3):
        if (needed := to_test(spread, 20, gain)) > FEWEST_TO_TEST:
            assert smallest(spread, 20, needed) <= gain < smallest(spread, 20, needed - 1)
    assert smallest(spread, 20, FEWEST_TO_TEST - 1) == 1


@pytest.mark.parametrize("tests", [1, 3, 5, 6, 18, 40, 1000])
def test_so_many_conversations_give_so_many_to_test(tests: int) -> None:
    judged = to_judge(tests)
    assert size_of_test(judged) >= tests > size_of_test(judged - 1) - (judged == 1)


def test_the_sentence_counts_down_to_enough() -> None:
    more = [Estimate(count, 3 * count, 20).more_replies for count in range(1000)]
    assert more[1:] == sorted(more[1:], reverse=True) and more[-1] == 0
    assert more[10] == 3 * (to_judge(to_test(1.0, 20)) - 10), "conversations have three replies each"
    assert (
        Estimate(10, 30, 20).sentence
        == f"about {rounded(more[10]):,} more rated replies to tell a 10 % gain from chance"
    )
    assert Estimate(0, 0, what="replies").sentence.endswith("more replies to tell a 10 % gain from chance")
    enough = Estimate(1000, 3000, 20)
    assert enough.sentence == f"enough to tell a gain of {math.ceil(100 * enough.gain)} % or more from chance"
    assert 0 < enough.gain < 0.1


@pytest.mark.parametrize("conversations", [40, 1000, 10**6])
@pytest.mark.parametrize("tokens", [20, 100, 1000])
def test_no_smaller_gain_is_promised_than_was_measured(conversations: int, tokens: int) -> None:
    """The spread of small differences is an assumption; taken at its word, ten test conversations would show 1 %."""
    found = Estimate(conversations, conversations, tokens)
    assert found.gain >= FINEST


def test_what_an_earlier_dataset_tests_counts_too() -> None:
    needed = to_test(1.0, 20)
    assert Estimate(needed, needed, 20).more_replies > 0 == Estimate(needed, needed, 20, tested=needed).more_replies


def test_nothing_and_very_much_have_a_sentence() -> None:
    for spread in (1e-9, 1.0, 1e3):
        for count in (0, 1, 10**7):
            told: dict[str, Any] = Estimate(count, count, 20, spread).as_json()
            assert told["more_replies"] >= 0 and 0 <= told["smallest_gain"] <= 1 and told["words"]


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (9, 9), (11, 15), (34, 35), (100, 100), (123, 130), (1234, 1300)])
def test_estimates_are_rounded_up(count: int, shown: int) -> None:
    assert rounded(count) == shown
