"""Examples chosen from a pool; vectors are given, so that what is near is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts import examples
from prompts.examples import CHOICES, Pool
from prompts.template import Example

REVIEWS = [Example(f"good {n}", "good") for n in range(6)] + [Example(f"bad {n}", "bad") for n in range(2)]
ANGLES = [0, 5, 10, 90, 95, 180, 185, 270]


def at(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


VECTORS = [at(one) for one in ANGLES]


def pool(choice: str, seed: int = 0) -> Pool:
    return Pool(REVIEWS, choice, seed=seed, vectors=VECTORS)


def test_first_are_as_they_stand() -> None:
    assert pool("first").choose(3) == REVIEWS[:3]
    assert pool("first").choose(99) == REVIEWS
    assert pool("first").choose(0) == []


def test_random_goes_by_its_seed_alone() -> None:
    drawn = pool("random", 1).choose(8)
    assert drawn == pool("random", 1).choose(8, "another input")
    assert drawn != pool("random", 2).choose(8)
    assert sorted(drawn, key=REVIEWS.index) == REVIEWS


@pytest.mark.parametrize("seed", range(5))
def test_balanced_takes_as_many_of_each_class(seed: int) -> None:
    outputs = [one.output for one in pool("balanced", seed).choose(6)]
    assert [outputs[:4].count("good"), outputs[:4].count("bad")] == [2, 2]
    assert outputs[4:] == ["good", "good"], "there are only two bad ones"


def test_the_nearest_is_said_last() -> None:
    chosen = pool("nearest").choose(3, "x", vector=at(92))
    assert [ANGLES[REVIEWS.index(one)] for one in chosen] == [10, 95, 90]


def test_diverse_ones_lie_far_apart() -> None:
    angles = {ANGLES[REVIEWS.index(one)] // 90 for one in pool("diverse").choose(4)}
    assert angles == {0, 1, 2, 3}, "one of each quarter"


@pytest.mark.parametrize("choice", CHOICES)
def test_never_the_input_itself(choice: str) -> None:
    chosen = pool(choice).choose(8, "  GOOD\u200b\u3000 0 ", vector=at(0))
    assert REVIEWS[0] not in chosen
    assert len(chosen) == 7


def test_the_same_words_about_another_passage_are_another_input() -> None:
    some = [Example("Who came?", "Ada", {"passage": "Ada came."}), Example("Who came?", "Bo", {"passage": "Bo came."})]
    assert Pool(some).choose(2, "who came?", {"passage": "ada  came.", "manner": "brief"}) == some[1:]
    assert Pool(some).choose(2, "Who came?") == [], "which passage isn't known"


def test_an_example_that_is_there_twice_counts_once() -> None:
    assert Pool([*REVIEWS[:2], Example("Good  0", "good")]).choose(9) == REVIEWS[:2]


@given(st.sampled_from(CHOICES), st.integers(0, 9), st.integers(0, 8), st.sampled_from(REVIEWS))
def test_fewer_are_those_wanted_most(choice: str, seed: int, count: int, item: Example) -> None:
    made = pool(choice, seed)
    fewer, more = (made.choose(n, item.input, vector=at(40)) for n in (count, count + 1))
    assert [one for one in more if one in fewer] == fewer
    assert len(fewer) == min(count, 7)


@pytest.mark.parametrize("choice", CHOICES)
def test_an_empty_pool(choice: str) -> None:
    assert Pool([], choice).choose(3, "x") == []


def test_what_cannot_be_chosen_by() -> None:
    with pytest.raises(ValueError, match="must be one of first"):
        Pool(REVIEWS, "best")
    with pytest.raises(ValueError, match="a vector for each of 8 examples, not 0"):
        Pool(REVIEWS, "diverse")
    with pytest.raises(ValueError, match="needs the vector of the input"):
        pool("nearest").choose(1, "x")


def test_what_a_vector_is_made_of() -> None:
    assert examples.texts([Example("Q?", "A", {"z": "two", "a": "one"})]) == ["one\ntwo\nQ?"]
