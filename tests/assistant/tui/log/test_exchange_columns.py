"""The columns of the table: which fit, and how texts are cut."""

from datetime import UTC, datetime

import pytest

from assistant.safe_text import cell_width
from assistant.store.search.exchanges import Exchange
from assistant.tui.log.exchange_columns import fitting, heading, line, sort_at
from assistant.tui.log.rows import LogRow

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
EXCHANGE = Exchange(
    2, 1, 1, NOW_MS, "m", "", "plain", 1, "keep", ("sea", "旅行"), 12, None, 90, None, "鲸鱼" * 30, "", ""
)


def row(*reply: tuple[str, bool]) -> LogRow:
    return LogRow(2, 1, NOW_MS, "鲸鱼" * 30, (("你好 " * 40, False),), reply, EXCHANGE)


@pytest.mark.parametrize("width", [40, 60, 76, 96, 116, 156, 240])
def test_a_line_is_as_wide_as_the_table(width: int) -> None:
    drawn = line(row(("a\x1b[31m\nb" * 50, False)), width, NOW).plain
    assert "\x1b" not in drawn and "\n" not in drawn
    narrowest = sum(cells for _, cells in fitting(width)) + 2 * len(fitting(width)) - 2
    assert cell_width(drawn) == narrowest == cell_width(heading(width, "time", descending=True).plain)
    assert narrowest <= max(width, 56)


def test_wider_tables_have_more_columns() -> None:
    assert [len(fitting(width)) for width in (50, 76, 100, 116, 160)] == [4, 5, 6, 7, 10]


def test_a_hit_far_in_a_text_is_in_sight() -> None:
    drawn = line(row(("long " * 30, False), ("whale", True), (" and on" * 30, False)), 76, NOW)
    assert "whale" in drawn.plain
    assert any(span.style == ".hit" for span in drawn.spans)


def test_an_unknown_surprise_is_a_dot() -> None:
    assert "·" in line(row(("x", False)), 76, NOW).plain


def test_a_heading_is_found_by_its_place() -> None:
    assert sort_at(76, 0) == "time"
    assert sort_at(76, 75) == "rating"
    assert sort_at(76, 16) is None  # what a person said isn't sorted by
