"""A pane to read: it begins at the top, whatever it shows."""

from collections.abc import Sequence
from itertools import chain

from assistant.tui.widgets.column import E
from assistant.tui.widgets.column_view import ColumnView
from assistant.tui.widgets.rows import Block, Line


class Page(ColumnView[E]):
    """`show` gives it entries in place of all before."""

    def show(self, entries: Sequence[E]) -> None:
        self._column.fill(entries)
        self._drawn.clear()
        self.scroll_to(y=0, animate=False, force=True)
        self._following = False
        self._settle()

    def page(self) -> None:
        """Read on by a page; from the end back to the beginning."""
        if self.scroll_offset.y >= self.max_scroll_y:
            self.scroll_to(y=0, animate=False, force=True)
        else:
            self.scroll_page_down()


class Blocks:
    """An entry of blocks under each other."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks

    def lines(self, width: int) -> Sequence[Line]:
        return list(chain.from_iterable(block.lines(width) for block in self._blocks))

    def estimate(self, width: int) -> int:
        return len(self.lines(width))
