"""The plot of a training's loss, by its characters."""

import math

import pytest

from assistant.safe_text import cell_width
from assistant.tui.training.loss_plot import MARK, Curves, plot


def drawn(curves: Curves, width: int = 30, height: int = 8) -> list[str]:
    return plot(curves, width, height).plain.split("\n")


def test_a_falling_loss_falls_from_the_left_top_to_the_right_bottom() -> None:
    lines = drawn(Curves([(step, 4.0 - step / 50) for step in range(1, 101)], steps=100))
    assert lines[0].startswith("3.98 ┤⠉") or lines[0].startswith("3.98 ┤⠑")
    assert lines[0].rstrip() == lines[0].rstrip()[:12]
    assert lines[5].startswith("2.00 ┤") and lines[5].rstrip()[-1] != " "
    assert lines[6].split() == ["step", "1", "100"]


def test_what_is_still_to_come_is_left_free() -> None:
    lines = drawn(Curves([(1, 3.0), (10, 2.0)], steps=100))
    assert all(len(line.rstrip()) < 12 for line in lines[:6])
    assert lines[6].endswith("100")


def test_held_out_losses_are_marks_at_their_step() -> None:
    lines = drawn(Curves([(1, 3.0), (100, 2.0)], [(1, 3.5), (100, 2.5)], 100))
    assert lines[0].startswith(f"3.50 ┤{MARK} ")
    assert sum(line.count(MARK) for line in lines[:6]) == 2
    assert "held out" in lines[7]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_left_out(wrong: float) -> None:
    assert drawn(Curves([(1, 3.0), (2, wrong), (3, 2.0)])) == drawn(Curves([(1, 3.0), (3, 2.0)]))


def test_nothing_yet_and_a_single_point_are_no_trouble() -> None:
    assert drawn(Curves()) == [""]
    assert drawn(Curves([(1, math.nan)])) == [""]
    assert drawn(Curves([(1, 2.5)]))[0].startswith("2.50 ┤⠁")


@pytest.mark.parametrize("width", [30, 76, 116])
def test_it_is_as_large_as_it_may_be_and_no_larger(width: int) -> None:
    lines = drawn(Curves([(step, math.sin(step)) for step in range(5_000)], [(9, 0.1)], 6_000), width, 10)
    assert len(lines) == 10
    assert max(cell_width(line) for line in lines) <= width
