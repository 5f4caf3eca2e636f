"""The columns of the table of exchanges: which fit, how wide they are, and what stands in them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from textual.content import Content

from assistant import ratings
from assistant.safe_text import printable
from assistant.store.search.filter import Sort
from assistant.store.search.query import Fragment
from assistant.tui.clock import column_time
from assistant.tui.log.rows import LogRow

GAP_CELLS = 2


@dataclass(frozen=True, slots=True)
class Column:
    """`cells` wide and more by `share` of what is left; in tables of `from_cells` and wider only."""

    heading: str
    sort: Sort | None
    cell: Callable[[LogRow, datetime], Content]
    cells: int
    share: int = 0
    from_cells: int = 0
    right: bool = False


def _marked(fragments: Sequence[Fragment]) -> Content:
    return Content("").join(
        Content.styled(text, ".hit") if is_hit else Content(text)
        for piece, is_hit in fragments
        if (text := re.sub(r"\s+", " ", printable(piece)))
    )


def _plain(text: str) -> Content:
    return Content(printable(text, newlines=False))


def _surprise(row: LogRow, _now: datetime) -> Content:
    known = row.exchange is not None and row.exchange.surprise is not None
    return Content(f"{row.exchange.surprise:.2f}" if known else "·")  # type: ignore[union-attr]


def _rating(row: LogRow, _now: datetime) -> Content:
    if row.exchange is None:
        return Content("")
    decided = "" if row.exchange.decision == "undecided" else row.exchange.decision
    if row.exchange.corrects_id is not None and not decided:
        decided = "written"
    return Content(f"{ratings.of(row.exchange.rating).sign} {decided}".rstrip())


def _of_exchange(name: str) -> Callable[[LogRow, datetime], Content]:
    def cell(row: LogRow, _now: datetime) -> Content:
        return _plain(str(getattr(row.exchange, name))) if row.exchange else Content("")

    return cell


COLUMNS: Sequence[Column] = (
    Column("when", "time", lambda row, now: Content(column_time(row.created_ms, now)), 12),
    Column("conversation", "conversation", lambda row, _: _plain(row.title), 12, 2, from_cells=96),
    Column("you", None, lambda row, _: _marked(row.prompt), 10, 3),
    Column("reply", "length", lambda row, _: _marked(row.reply), 12, 4),
    Column("model", "model", _of_exchange("model"), 12, 1, from_cells=140),
    Column("template", "template", _of_exchange("template"), 10, from_cells=150),
    Column("tokens", "tokens", _of_exchange("tokens"), 7, from_cells=130, right=True),
    Column("surprise", "surprise", _surprise, 9, from_cells=64, right=True),
    Column("rating", "rating", _rating, 9),
    Column("tags", "tags", lambda row, _: _plain(", ".join(row.exchange.tags) if row.exchange else ""), 10, 1, 106),
)


def fitting(width: int) -> list[tuple[Column, int]]:
    """The columns of a table `width` cells wide, each with its cells."""
    columns = [column for column in COLUMNS if column.from_cells <= width]
    left = width - sum(column.cells + GAP_CELLS for column in columns) + GAP_CELLS
    shares = sum(column.share for column in columns)
    widths = [column.cells + max(0, left) * column.share // shares for column in columns]
    return list(zip(columns, widths, strict=True))


def heading(width: int, sort: Sort | None, *, descending: bool) -> Content:
    """The headings; each can be clicked to sort by it."""
    arrow = " ↓" if descending else " ↑"
    cells = []
    for column, room in fitting(width):
        text = Content(column.heading + (arrow if sort is not None and column.sort == sort else ""))
        cells.append(_fitted(text, room, right=column.right))
    return _joined(cells)


def sort_at(width: int, x: int) -> Sort | None:
    """What the heading at cell `x` sorts by."""
    end = 0
    for column, room in fitting(width):
        end += room + GAP_CELLS
        if x < end:
            return column.sort
    return None


def line(row: LogRow, width: int, now: datetime) -> Content:
    """One row of the table, `width` cells wide."""
    return _joined([_fitted(column.cell(row, now), room, right=column.right) for column, room in fitting(width)])


def _fitted(content: Content, room: int, *, right: bool) -> Content:
    content = _from_hit(content, room)
    if content.cell_length > room:
        content = content.truncate(room, ellipsis=True)
    missing = max(0, room - content.cell_length)
    return content.pad_left(missing) if right else content.pad_right(missing)


def _from_hit(content: Content, room: int) -> Content:
    """`content` from a little before its first hit, where that would be cut off."""
    hit = next((span for span in content.spans if span.style == ".hit"), None)
    if hit is None or content[: hit.end].cell_length < room:
        return content
    shown = content[max(0, hit.start - room // 4) :]
    return Content("…") + shown


def _joined(cells: Sequence[Content]) -> Content:
    return Content(" " * GAP_CELLS).join(cells)
