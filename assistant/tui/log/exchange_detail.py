"""Entries of the pane that shows one exchange: its messages, two versions side by side, and facts."""

from collections.abc import Sequence
from itertools import zip_longest

from textual.content import Content

from assistant.tui.widgets.message import ShownMessage
from assistant.tui.widgets.rows import EMPTY, Line, Row

_GAP = "   "


class SideBySide:
    """Two messages in two columns."""

    def __init__(self, left: ShownMessage, right: ShownMessage) -> None:
        self._sides = (left, right)
        self._laid_out: tuple[int, list[Line]] = (0, [])

    def lines(self, width: int) -> Sequence[Line]:
        if self._laid_out[0] != width:
            half = max(10, (width - len(_GAP)) // 2)
            left, right = (side.lines(half) for side in self._sides)
            both = zip_longest(left, right, fillvalue=Line(EMPTY))
            self._laid_out = width, [self._line(one.content, other.content, half) for one, other in both]
        return self._laid_out[1]

    @staticmethod
    def _line(left: Content, right: Content, half: int) -> Line:
        missing = max(0, half - left.cell_length)
        return Line(left + " " * missing + _GAP + right)

    def estimate(self, width: int) -> int:
        return max(side.estimate(max(10, width // 2)) for side in self._sides)


class Facts:
    """Labels with what they say."""

    def __init__(self, facts: Sequence[tuple[str, Content]], label_cells: int) -> None:
        indent = Content(" " * label_cells)
        self._rows = [
            Row(line, Content.styled(label.ljust(label_cells), ".quiet") if not number else indent, indent)
            for label, text in facts
            for number, line in enumerate(text.split("\n"))
        ]

    def lines(self, width: int) -> Sequence[Line]:
        return [line for row in self._rows for line in row.lines(width)]

    def estimate(self, width: int) -> int:
        return len(self.lines(width))


DetailEntry = ShownMessage | SideBySide | Facts
