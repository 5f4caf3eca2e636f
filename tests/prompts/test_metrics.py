"""Measures against values worked out by hand, and against the libraries' own definitions."""

import pytest

from prompts import metrics


def test_classes() -> None:
    report = metrics.classification(list("aaab"), list("aabb"), ["a", "b"])
    assert report["accuracy"] == report["micro_f1"] == report["majority"] == 0.75
    assert report["confusion"] == [[2, 1], [0, 1]]
    assert report["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert report["per_class"]["a"]["support"] == 3


def test_several_labels() -> None:
    report = metrics.several_labels([["a", "b"], []], [["b"], []], ["a", "b"])
    assert report["exact_match"] == 0.5
    assert report["micro_f1"] == pytest.approx(2 / 3)


def test_calibration_error_is_the_gap_between_sure_and_right() -> None:
    assert metrics.calibration_error([True, False], [0.9, 0.9]) == pytest.approx(0.4)
    assert metrics.calibration_error([True, True], [1.0, 1.0]) == 0


def test_entities_count_whole_and_with_their_type() -> None:
    texts = ["Ada met Grace.", "小明在北京。"]
    truth = [[(0, 3, "person"), (8, 13, "person")], [(0, 2, "person"), (3, 5, "place")]]
    found = [[(0, 3, "person"), (8, 12, "person")], [(0, 2, "place"), (3, 5, "place")]]
    report = metrics.entities(texts, truth, found)
    assert (report["precision"], report["recall"], report["f1"]) == (0.5, 0.5, 0.5)
    assert report["per_class"]["place"]["recall"] == 1


def test_offsets_in_what_was_extracted() -> None:
    found = {"people": [{"text": "Ada", "type": "person", "start": 0, "end": 3}, {"text": "Bob", "start": None}]}
    assert metrics.spans(found) == [(0, 3, "person")]
    assert metrics.same_json(found, {"people": [{"text": "Ada", "type": "person"}, {"text": "Bob"}]}) == 1


@pytest.mark.parametrize(
    ("reference", "said", "exact", "f1"),
    [
        ("The Eiffel Tower", "eiffel tower.", 1, 1),
        ("Paris", "It is Paris", 0, 0.5),
        ("北京", "北京。", 1, 1),
        ("北京", "北海", 0, 0.5),
        ("", "", 1, 1),
        ("yes", "", 0, 0),
    ],
)
def test_answers_as_squad_counts_them(reference: str, said: str, exact: float, f1: float) -> None:
    assert metrics.exact_match(reference, said) == exact
    assert metrics.token_f1(reference, said) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("language", "text"), [("en", "the lamp had been dark for a year"), ("zh", "灯塔已经黑了整整一年")]
)
def test_the_same_text_has_the_best_marks(language: str, text: str) -> None:
    report = metrics.written([text], [text], language)
    assert report["chrf"] == pytest.approx(100)
    assert report["bleu"] == pytest.approx(100)
    assert report["rouge1"] == report["rouge2"] == report["rougeL"] == report["exact_match"] == 1


def test_an_interval_holds_the_mean_and_narrows() -> None:
    few, many = metrics.interval([1, 0, 1, 1]), metrics.interval([1, 0, 1, 1] * 50)
    assert few[0] <= 0.75 <= few[1]
    assert few[1] - few[0] > many[1] - many[0]


def test_the_same_items_are_compared_in_pairs() -> None:
    before, after = [0.0, 1.0] * 20, [1.0, 1.0] * 20
    difference, low, high = metrics.paired(before, after)
    assert (difference, low > 0, high < 1) == (0.5, True, True)
    assert metrics.paired(before, before) == (0, 0, 0)
