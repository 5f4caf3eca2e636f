"""Entries under each other, of which only those near the reader are laid out.

The others have an estimated height. When an estimate above the reader's place turns out wrong, the place moves by the
difference, so the text on the screen stays where it is.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

from assistant.tui.widgets.rows import Line


class Entry(Protocol):
    """Something with lines, and a cheap guess how many they are."""

    def lines(self, width: int) -> Sequence[Line]: ...

    def estimate(self, width: int) -> int: ...


E = TypeVar("E", bound=Entry)


class Column(Generic[E]):
    """Where the entries stand at the width they were last laid out for."""

    def __init__(self) -> None:
        self.entries: list[E] = []
        self.tops: list[int] = [0]
        """The first line of each entry, and at the end the number of lines."""
        self._width = 80
        self._heights: list[int] = []
        self._exact: list[bool] = []

    @property
    def height(self) -> int:
        """The number of lines, some of them estimated."""
        return self.tops[-1]

    def fill(self, entries: Sequence[E]) -> None:
        """Hold these entries instead."""
        self.entries = list(entries)
        self.reflow(self._width)

    def reflow(self, width: int) -> None:
        """Lines are `width` cells wide from now on."""
        self._width = width
        self._heights = [entry.estimate(width) for entry in self.entries]
        self._exact = [False] * len(self.entries)
        self._stack()

    def append(self, entry: E) -> None:
        """Put an entry at the end."""
        self.entries.append(entry)
        self._heights.append(entry.estimate(self._width))
        self._exact.append(False)
        self._stack()

    def replace(self, position: int, entry: E) -> None:
        """Put an entry in the place of another, or the same one that has changed."""
        self.entries[position] = entry
        self._exact[position] = False

    def cut(self, position: int) -> None:
        """Take away the entry at `position` and all after it."""
        del self.entries[position:], self._heights[position:], self._exact[position:]
        self._stack()

    def settle(self, top: int, height: int, *, at_end: bool = False) -> int:
        """Lay out what is within half a screen of the screen of `height` lines that begins at line `top`, or ends at
        the last line; the line where that screen begins now."""
        while True:
            lowest = max(0, self.height - height)
            top = lowest if at_end else min(top, lowest)
            moved = grown_above = 0
            for i in self._near(top, height):
                grown = self._lay_out(i)
                moved += abs(grown)
                grown_above += grown if self.tops[i + 1] <= top else 0
            if not moved:
                return top
            self._stack()
            top += grown_above

    def position(self, line: int) -> int | None:
        """The position of the entry that has this line."""
        at = bisect_right(self.tops, line) - 1
        return at if 0 <= at < len(self.entries) else None

    def line(self, number: int) -> Line | None:
        """The line with this number."""
        at = self.position(number)
        if at is None:
            return None
        lines, into = self.entries[at].lines(self._width), number - self.tops[at]
        return lines[into] if into < len(lines) else None

    def _near(self, top: int, height: int) -> range:
        first = bisect_right(self.tops, max(0, top - height // 2)) - 1
        last = bisect_right(self.tops, top + height + height // 2) - 1
        return range(first, min(last + 1, len(self.entries)))

    def _lay_out(self, position: int) -> int:
        """Give an entry its exact height; by how much that is more than it had."""
        if self._exact[position]:
            return 0
        old, self._heights[position] = self._heights[position], len(self.entries[position].lines(self._width))
        self._exact[position] = True
        return self._heights[position] - old

    def _stack(self) -> None:
        self.tops = [0, *accumulate(self._heights)]
