"""A fitted calibration: what it takes out, and that few labels move it little."""

import math
import random

import pytest

from prompts import labels
from prompts.calibration import FOLDS, fit, folds


def leaning(count: int, lean: float, share: float = 0.5) -> tuple[list[list[float]], list[int]]:
    """Scores of two classes whose difference is right but for a `lean` to the first, and too sure by a factor of 3."""
    draw = random.Random(0)
    truth = [0 if draw.random() < share else 1 for _ in range(count)]
    gaps = [draw.gauss(1.0 if right == 0 else -1.0, 1.0) * 2 for right in truth]
    return [[3 * gap + lean, 0.0] for gap in gaps], truth


def accuracy(calibration: labels.Calibration, scores: list[list[float]], truth: list[int]) -> float:
    found = [calibration.probabilities(row) for row in scores]
    return sum(row.index(max(row)) == right for row, right in zip(found, truth, strict=True)) / len(truth)


@pytest.mark.parametrize("share", [0.5, 0.85])
def test_a_leaning_is_taken_out_however_frequent_the_classes_are(share: float) -> None:
    scores, truth = leaning(400, 24.0, share)
    made = fit(scores, truth)
    assert accuracy(labels.uncalibrated({"a": ("a",), "b": ("b",)}), scores, truth) == pytest.approx(share, abs=0.05)
    assert accuracy(made, scores, truth) > 0.8
    if share > 0.5:
        assert accuracy(labels.batch(scores), scores, truth) < accuracy(made, scores, truth), (
            "batch takes them for even"
        )
    assert made.slope == pytest.approx(1 / 3, abs=0.1), "it was too sure by a factor of 3"
    said = [max(made.probabilities(row)) for row in scores]
    assert sum(said) / len(said) == pytest.approx(accuracy(made, scores, truth), abs=0.03)


def test_of_two_items_it_is_nearly_the_batch_prior() -> None:
    scores = [[-1.0, -3.0], [-1.5, -2.0]]
    one, other = fit(scores, [0, 1]), labels.batch(scores)
    assert [one.probabilities(row)[0] for row in scores] == pytest.approx(
        [other.probabilities(row)[0] for row in scores], abs=0.15
    )


def test_of_one_class_alone_it_is_a_number_still() -> None:
    assert all(math.isfinite(one) for one in fit([[-1.0, -2.0, -9.0]] * 12, [0] * 12).log_prior)


def test_every_class_is_in_every_part() -> None:
    truth = ["a"] * 10 + ["b"] * 5 + ["c"] * 2
    part = folds(truth)
    for name, each in (("a", 2), ("b", 1)):
        assert [sum(p == n and t == name for p, t in zip(part, truth, strict=True)) for n in range(FOLDS)] == [each] * 5
    assert max(part.count(n) for n in range(FOLDS)) - min(part.count(n) for n in range(FOLDS)) <= 1
