"""Verbalizers and calibration: log-probabilities of words in, probabilities of classes out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts import labels

TWO = labels.parse({"positive": ["good", "fine"], "negative": "bad"})


def test_a_list_of_classes_says_their_names() -> None:
    assert labels.parse(["sport", "体育"]) == {"sport": ("sport",), "体育": ("体育",)}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "two classes or more"),
        (["only"], "two classes or more"),
        ({"a": "x", "b": []}, "'b' and its words must be text"),
        ({"a": "x", "b": [True]}, "put yes, no, true, false and numbers in quotes"),
        ({"a": "x", True: "y"}, "must be text"),
        ({"a": ["good"], "b": ["bad", "Good"]}, "share the word 'Good'"),
        ({"a": "x", "b": " "}, "must be text"),
    ],
)
def test_labels_that_cannot_be_told_apart(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        labels.parse(value)


def test_words_are_tried_with_a_capital_too() -> None:
    assert labels.continuations(TWO) == ["good", "Good", "fine", "Fine", "bad", "Bad"]
    assert labels.forms(["好", "US"]) == ["好", "US"]


def test_a_word_is_its_tokens_mean_and_a_class_its_words_mean() -> None:
    scores = labels.class_scores(TWO, [[-1.0, -3.0], [-2.0], [-2.0], [-2.0], [-1.0], [-5.0]])
    assert scores[0] == pytest.approx(-2.0)
    assert scores[1] == pytest.approx(math.log((math.exp(-1) + math.exp(-5)) / 2))


numbers = st.floats(-60, 0)
tables = st.integers(2, 5).flatmap(
    lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=1, max_size=8)
)


@given(tables)
def test_probabilities_are_probabilities(scores: list[list[float]]) -> None:
    for calibration in (labels.batch(scores), labels.contextual(scores)):
        for row in scores:
            found = calibration.probabilities(row)
            assert math.fsum(found) == pytest.approx(1)
            assert all(0 <= p <= 1 for p in found)


def test_a_leaning_that_all_inputs_share_is_divided_out() -> None:
    rows = [[math.log(p), math.log(1 - p)] for p in (0.95, 0.9, 0.85, 0.8)]
    assert all(row[0] > row[1] for row in rows), "one class for all"
    found = [labels.batch(rows).probabilities(row)[0] for row in rows]
    assert [p > 0.5 for p in found] == [True, True, False, False]
    assert found == sorted(found, reverse=True), "the order is kept"


def test_an_input_that_says_nothing_leaves_classes_even() -> None:
    empty = [[-0.1, -4.0]] * 3
    assert labels.contextual(empty).probabilities([-0.1, -4.0]) == pytest.approx([0.5, 0.5])


LETTERS = labels.parse(["A", "B"])
MOODS = labels.parse({"good": ["positive", "fine"], "bad": ["negative"], "未知": ["不清楚"]})


@pytest.mark.parametrize(
    ("known", "text", "said"),
    [
        (LETTERS, "b", "B"),
        (LETTERS, "B. a blanket", "B"),
        (LETTERS, "a blanket, so B", "B"),
        (LETTERS, "BA", ""),
        (MOODS, "Negative, not positive", "bad"),
        (MOODS, "It is GOOD.", "good"),
        (MOODS, "refined", ""),
        (MOODS, "我不清楚", "未知"),
        (MOODS, "", ""),
    ],
)
def test_the_class_that_a_text_names(known: labels.Labels, text: str, said: str) -> None:
    assert labels.said(known, text) == said
