"""Bars of shares."""

import pytest

from assistant.tui.prompts.bars import bar, percent


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0.0, "····"), (1.0, "████"), (0.5, "██··"), (0.53, "██▏·"), (0.0001, "▏···"), (1.2, "████"), (-1.0, "····")],
)
def test_bars(share: float, drawn: str) -> None:
    assert bar(share, 4).plain == drawn


def test_percent() -> None:
    assert [percent(share) for share in (0.0, 0.826, 1.0)] == ["  0 %", " 83 %", "100 %"]
