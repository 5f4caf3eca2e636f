"""Markdown that grows: each update costs its last item, row or lines of code, however long the text is.

Of a text that grows only its last block can still change. Textual's `Markdown.append` builds that block anew each
time, so a list of 80 items, a table of 80 rows or 300 lines of code grow quadratically. Here the last block is cut as
well: all items of a list but the last, all rows of a table but the last and all full parts of a fence are settled, and
parsing goes on from there, with the table's header or the fence's first line put before it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant.tui.widgets.markdown_blocks import (
    Fence,
    block,
    cells,
    first_number,
    gap,
    items,
    language,
    parse,
    right_columns,
)
from assistant.tui.widgets.rows import EMPTY, Block, Table

if TYPE_CHECKING:  # the first frame has no Markdown
    from markdown_it.tree import SyntaxTreeNode

_PART_LINES = 12
"""Lines of code that are highlighted at once: 12 lines of Python take about 2 ms."""
_UNDECIDED = re.compile(r"[-=_*+~`#>|: ]*|\d{1,9}[.)]?|\|.*")
"""A last line that may become something else: a dash is the start of a list item, and under a paragraph a heading."""


@dataclass(frozen=True, slots=True)
class _Resume:
    """Where parsing goes on: at `source[start:]` with `lead` before it."""

    start: int = 0
    settled: int = 0
    """Blocks that stay as they are."""
    lead: str = ""
    """Lines that make the rest what it is: the header of a table, the first line of a fence."""
    inside: bool = False
    """The first block goes on with one that is partly settled."""
    number: int | None = None
    """The number of a list's next item; None for a bullet."""
    rows: int = 0
    """Settled rows of the table, which is the last settled block."""


class StreamingMarkdown:
    """The blocks of a text that grows. They look as `markdown_blocks.render` shows the whole text, but for
    links defined further down and code whose colours depend on lines far above."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._source = ""
        self._resume = _Resume()

    def update(self, source: str) -> None:
        """Show `source`, the text so far. A last line that may still become something else waits for its end."""
        whole_lines = source[: source.rfind("\n") + 1]
        if not whole_lines.startswith(self._source):  # an escape sequence cut in two is complete, and gone
            self.blocks, self._resume, self._source = [], _Resume(), ""
        if len(whole_lines) > len(self._source):
            self._source = whole_lines
            self._grow(whole_lines)
        if not _UNDECIDED.fullmatch(source[len(whole_lines) :].strip()):
            settled = self._resume
            self._grow(source)
            self._resume = settled

    def _grow(self, source: str) -> None:
        """Rebuild what is not settled, and settle what the text that follows can't change."""
        resume = self._resume
        tail = _Tail(resume.lead + source[resume.start :], resume.start - len(resume.lead))
        del self.blocks[resume.settled :]
        for i, node in enumerate(parse(tail.text)):
            if i or not resume.inside:
                self._resume = _Resume(tail.position(_line(node)), len(self.blocks))
                self.blocks += [gap()] if self.blocks else []
            _GROWERS.get(node.type, StreamingMarkdown._grow_other)(self, node, tail)

    def _grow_other(self, node: SyntaxTreeNode, _: _Tail) -> None:
        self.blocks += block(node, EMPTY, EMPTY)

    def _grow_list(self, node: SyntaxTreeNode, tail: _Tail) -> None:
        number = self._resume.number if self._resume.inside else first_number(node)
        *done, last = node.children
        self.blocks += items(done, EMPTY, EMPTY, number=number)
        number = None if number is None else number + len(done)
        self._resume = _Resume(tail.position(_line(last)), len(self.blocks), inside=True, number=number)
        self.blocks += items([last], EMPTY, EMPTY, number=number)

    def _grow_table(self, node: SyntaxTreeNode, tail: _Tail) -> None:
        header, *rows = cells(node)
        table = self.blocks[-1] if self._resume.inside else None
        if not isinstance(table, Table):
            table = Table(header, [], right=right_columns(node))
            self.blocks.append(table)
        table.keep_rows(self._resume.rows, rows)
        if rows:
            last = node.children[1].children[-1]
            lead = tail.lines(_line(node), 2)
            self._resume = _Resume(
                tail.position(_line(last)), len(self.blocks), lead, inside=True, rows=len(table.rows) - 1
            )

    def _grow_fence(self, node: SyntaxTreeNode, tail: _Tail) -> None:
        lines = node.content.removesuffix("\n").split("\n")
        full = (len(lines) - 1) // _PART_LINES * _PART_LINES
        for i in range(0, full, _PART_LINES):
            self.blocks.append(Fence("\n".join(lines[i : i + _PART_LINES]), language(node)))
        if full:
            start, lead = tail.position(_line(node) + 1 + full), tail.lines(_line(node), 1)
            self._resume = _Resume(start, len(self.blocks), lead, inside=True)
        self.blocks.append(Fence("\n".join(lines[full:]), language(node)))


_GROWERS: dict[str, Callable[[StreamingMarkdown, SyntaxTreeNode, _Tail], None]] = {
    "bullet_list": StreamingMarkdown._grow_list,
    "ordered_list": StreamingMarkdown._grow_list,
    "table": StreamingMarkdown._grow_table,
    "fence": StreamingMarkdown._grow_fence,
}


class _Tail:
    """The text that is parsed, and where its lines stand in the source, of which it begins at `start`."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self._start = start
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]

    def position(self, line: int) -> int:
        """Where `line` of the tail begins in the source."""
        return self._start + self._line_starts[line]

    def lines(self, first: int, count: int) -> str:
        """`count` lines of the tail."""
        return self.text[self._line_starts[first] : self._line_starts[first + count]]


def _line(node: SyntaxTreeNode) -> int:
    assert node.map is not None
    return node.map[0]
