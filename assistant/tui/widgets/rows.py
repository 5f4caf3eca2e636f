"""Rows of styled text that become lines when a width is known.

A message is a list of blocks (rows, tables). Each keeps the lines of the width it was last asked for, so that a reply
that grows costs only its last block, and a screen paints without building a widget for each paragraph.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, Protocol

from textual.content import Content

EMPTY = Content("")
_LONG_CHARACTERS = 2_000
"""Longer lines are cut before they are wrapped: wrapping is slow on a line without an end."""
TAB_CELLS = 4
_COLUMN_GAP = "  "
_NARROWEST_COLUMN = 4


class Line(NamedTuple):
    """One line on the screen."""

    content: Content
    fill: str = ""
    """Style of the line's background to the right edge, empty for none."""
    indent: int = 0
    """Characters of `content` that are bullet or indentation, not text."""
    glue: str | None = None
    """What joins this line to the one before when copied: None is a newline, a wrapped line has a space or nothing."""

    def looks_like(self, other: "Line") -> bool:
        """Whether both are drawn alike."""
        return self is other or (self.fill == other.fill and self.content.is_same(other.content))


class Block(Protocol):
    """Something that can be laid out at a width in cells."""

    def lines(self, width: int) -> Sequence[Line]: ...


@dataclass(slots=True)
class Row:
    """One line of text before wrapping, behind `first`; its wrapped continuations stand behind `rest`."""

    content: Content
    first: Content = EMPTY
    rest: Content = EMPTY
    fill: str = ""
    words: bool = True
    """Wrap between words; code is cut at the edge instead."""
    _laid_out: tuple[int, Sequence[Line]] = field(default=(0, ()), compare=False, repr=False)

    def lines(self, width: int) -> Sequence[Line]:
        if self._laid_out[0] != width:
            self._laid_out = (width, self._lay_out(width))
        return self._laid_out[1]

    def _lay_out(self, width: int) -> Sequence[Line]:
        room = max(2, width - self.first.cell_length)
        pieces = wrap(self.content, room, words=self.words)
        lines = [Line(self.first + pieces[0] if self.first else pieces[0], self.fill, len(self.first))]
        glue = " " if self.words else ""
        lines += [Line(self.rest + piece, self.fill, len(self.rest), glue) for piece in pieces[1:]]
        return lines


@dataclass(slots=True)
class Sides:
    """One line with a text at the left and one at the right edge. The left one is shortened where both don't fit."""

    left: Content
    right: Content

    def lines(self, width: int) -> Sequence[Line]:
        room = width - self.right.cell_length - 2
        if room < min(8, self.left.cell_length):
            return [Line(self.left.truncate(width, ellipsis=True))]
        left = self.left.truncate(room, ellipsis=True)
        return [Line(left + " " * (width - left.cell_length - self.right.cell_length) + self.right)]


@dataclass(slots=True)
class Rule:
    """A horizontal line across the whole width."""

    first: Content = EMPTY
    style: str = ".quiet"

    def lines(self, width: int) -> Sequence[Line]:
        return [Line(self.first + Content.styled("─" * max(0, width - len(self.first)), self.style))]


@dataclass(slots=True)
class Table:
    """A header over rows, its columns as narrow as their widest cell, apart by white space alone."""

    header: list[Content]
    rows: list[list[Content]]
    first: Content = EMPTY
    rest: Content = EMPTY
    right: Sequence[bool] = ()
    """Which columns stand at the right."""
    _widths: list[int] = field(default_factory=list, compare=False, repr=False)
    _done: list[list[Line]] = field(default_factory=list, compare=False, repr=False)
    """The lines of the rows laid out so far with these column widths."""

    def lines(self, width: int) -> Sequence[Line]:
        widths = _column_widths([self.header, *self.rows], max(2, width - self.first.cell_length))
        if widths != self._widths:
            self._widths, self._done = widths, []
        for row in self.rows[len(self._done) :]:
            self._done.append(self._row_lines(row))
        ruled = Content.styled(_COLUMN_GAP.join("─" * cells for cells in widths), ".quiet")
        header = self._row_lines([cell.stylize(".strong") for cell in self.header])
        header[0] = header[0]._replace(content=self.first + header[0].content[len(self.rest) :])
        return [*header, Line(self.rest + ruled, indent=len(self.rest)), *chain.from_iterable(self._done)]

    def _row_lines(self, cells: Sequence[Content]) -> list[Line]:
        """One row, as many lines as its highest cell."""
        columns = [wrap(cell, width) for cell, width in zip(cells, self._widths, strict=False)]
        lines = []
        for i in range(max(map(len, columns), default=1)):
            parts = [self._aligned(column[i] if i < len(column) else EMPTY, at) for at, column in enumerate(columns)]
            lines.append(Line(self.rest + Content(_COLUMN_GAP).join(parts).rstrip(), indent=len(self.rest)))
        return lines

    def _aligned(self, content: Content, at: int) -> Content:
        """`content` padded to its column."""
        missing = self._widths[at] - content.cell_length
        return content.pad_left(missing) if self.right[at : at + 1] == [True] else content.pad_right(missing)

    def keep_rows(self, count: int, rows: Iterable[list[Content]]) -> None:
        """Put `rows` after the first `count`."""
        self.rows[count:] = rows
        del self._done[count:]


def wrap(content: Content, width: int, *, words: bool = True) -> list[Content]:
    """`content` in lines of at most `width` cells; at least one line."""
    if "\t" in content.plain:
        content = content.expand_tabs(TAB_CELLS)
    if content.cell_length <= width and "\n" not in content.plain:
        return [content]
    if not words:
        return list(chain.from_iterable(line.fold(width) for line in content.split("\n", allow_blank=True))) or [EMPTY]
    if len(content) > _LONG_CHARACTERS and not content.spans:
        return list(chain.from_iterable(piece.wrap(width) for piece in _cut(content.plain)))
    return content.wrap(width) or [EMPTY]


def _cut(text: str) -> Iterable[Content]:
    """`text` in pieces that end at a space where there is one."""
    start = 0
    while start < len(text):
        end = start + _LONG_CHARACTERS
        if end < len(text):
            end = max(text.rfind(" ", start, end) + 1, start) or end
            end = end if end > start else start + _LONG_CHARACTERS
        yield Content(text[start:end])
        start = end


def plain_rows(text: str) -> list[Row]:
    """One row for each line of `text`, exactly as it was typed."""
    return [Row(Content(line)) for line in text.split("\n")]


def _column_widths(rows: Sequence[Sequence[Content]], room: int) -> list[int]:
    """Cells for each column: its widest cell, or less for the widest columns where `room` is too small."""
    columns = max(len(row) for row in rows)
    widths = [max((row[i].cell_length for row in rows if i < len(row)), default=1) or 1 for i in range(columns)]
    room -= len(_COLUMN_GAP) * (columns - 1)
    while sum(widths) > room:
        widest = max(widths)
        if widest <= _NARROWEST_COLUMN:
            break
        second = max((w for w in widths if w < widest), default=_NARROWEST_COLUMN)
        count = widths.count(widest)
        target = max(second, _NARROWEST_COLUMN, widest - -(-(sum(widths) - room) // count))
        widths = [target if w == widest else w for w in widths]
    return widths
