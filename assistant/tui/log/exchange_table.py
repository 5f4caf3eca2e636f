"""Exchanges in rows, of which only the pages near the reader are held. As fast for a million as for ten."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.style import Style

from assistant.store.search.filter import Sort
from assistant.tui import keys
from assistant.tui.clock import Now
from assistant.tui.log import exchange_columns
from assistant.tui.log.rows import PAGE_ROWS, LogRow
from assistant.tui.widgets.cursor_list import CursorList

PAGES_KEPT = 40
MARK = "▌"


class ExchangeTable(CursorList, can_focus=True):
    """Says which pages it lacks; the screen brings them. A row that isn't there yet is an empty line."""

    HEADING_LINES = 1
    BINDINGS: ClassVar[list[BindingType]] = keys.EXCHANGES
    COMPONENT_CLASSES: ClassVar[set[str]] = {"heading", "cursor", "blurred", "hover", "hit", "mark"}
    DEFAULT_CSS = """
    ExchangeTable {
        height: 1fr;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        & > .heading { color: $foreground 60%; }
        & > .cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & > .blurred { background: $block-cursor-blurred-background; }
        & > .hover { background: $surface; }
        & > .mark { color: $text-accent; }
        & > .hit { color: $text-accent; text-style: bold underline; }
    }
    """

    @dataclass
    class PageWanted(Message):
        """A page that isn't there came into sight."""

        number: int

    class FurtherWanted(Message):
        """The reader is near the last row, and there may be more."""

    @dataclass
    class Highlighted(Message):
        """The cursor is on another row, or the row has changed. None where there is none."""

        row: LogRow | None

    @dataclass
    class Opened(Message):
        """A row was chosen."""

        row: LogRow

    @dataclass
    class SortWanted(Message):
        """A heading was clicked."""

        sort: Sort

    def __init__(self, *, now: Now, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now = now
        self._more = False
        self._sort: tuple[Sort | None, bool] = ("time", True)
        self._pages: LRUCache[int, Sequence[LogRow]] = LRUCache(PAGES_KEPT)
        self._asked: set[int] = set()
        """Pages that are on their way."""
        self._told: LogRow | None = None
        self._hover: int | None = None
        self.marked: Collection[int] = ()
        """Ids of replies whose rows are marked."""

    # --- what is shown

    def show(self, rows: Sequence[LogRow], *, sort: Sort | None, descending: bool) -> None:
        """Show these first rows in place of all before; the cursor is on the first. `sort` None: by no column."""
        self._pages.clear()
        self._asked.clear()
        for first in range(0, len(rows), PAGE_ROWS):
            self._pages[first // PAGE_ROWS] = rows[first : first + PAGE_ROWS]
        self._sort = (sort, descending)
        self._cursor, self._hover = 0, None
        self.count = len(rows)
        self.grow(self.count, more=False)
        self.scroll_to(y=0, animate=False, force=True)
        self._tell()

    def grow(self, count: int, *, more: bool) -> None:
        """There are `count` rows, and maybe more."""
        if count > self.count:
            self._drop_last()
        self.count, self._more = count, more
        self.virtual_size = Size(0, count + 1)
        self._cursor = max(0, min(self._cursor, count - 1))
        self.refresh()

    def _drop_last(self) -> None:
        """Forget the last page where it wasn't full."""
        number = self.count // PAGE_ROWS
        if number in self._pages and len(self._pages[number]) < PAGE_ROWS:
            self._pages.discard(number)

    def put(self, number: int, rows: Sequence[LogRow]) -> None:
        """A page that was wanted."""
        self._asked.discard(number)
        self._keep(number, rows)
        self.refresh()
        self._tell()

    def _keep(self, number: int, rows: Sequence[LogRow]) -> None:
        self._pages.discard(number)  # the cache doesn't overwrite
        self._pages[number] = rows

    def update(self, rows: Sequence[LogRow]) -> None:
        """Show these rows anew, wherever they are."""
        new = {row.hit_id: row for row in rows}
        for number in [*self._pages.keys()]:
            self._keep(number, [new.get(row.hit_id, row) for row in self._pages[number]])
        self.refresh()
        self._tell()

    @property
    def cursor(self) -> int:
        """The number of the row under the cursor, from 0."""
        return self._cursor

    @property
    def row(self) -> LogRow | None:
        """The row under the cursor, where there is one and it is there yet."""
        return self._row(self._cursor) if self._cursor < self.count else None

    @property
    def held(self) -> list[LogRow]:
        """The rows that are held now."""
        return [row for number in [*self._pages.keys()] for row in self._pages[number]]

    def number_of(self, reply_id: int) -> int | None:
        """The number of the row of a reply, where it is held now."""
        for number in [*self._pages.keys()]:
            for into, row in enumerate(self._pages[number]):
                if row.reply_id == reply_id:
                    return number * PAGE_ROWS + into
        return None

    def _row(self, index: int) -> LogRow | None:
        number, into = divmod(index, PAGE_ROWS)
        page = self._pages.get(number)
        if page is None:
            if number not in self._asked:
                self._asked.add(number)
                self.post_message(self.PageWanted(number))
            return None
        return page[into] if into < len(page) else None

    def _tell(self) -> None:
        """Say which row the cursor is on, where that is news."""
        row = self.row
        if row is not self._told:
            self._told = row
            self.post_message(self.Highlighted(row))

    # --- drawing

    @property
    def _line_width(self) -> int:
        return max(10, self.scrollable_content_region.width - 2)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y == 0:
            sort, descending = self._sort
            heading = exchange_columns.heading(self._line_width, sort, descending=descending)
            return self._strip(heading, self._style("heading"), width)
        index = y - 1 + self.scroll_offset.y
        row = self._row(index) if index < self.count else None
        style = self.visual_style
        if index == self._cursor and index < self.count:
            style = self._style("cursor" if self.has_focus else "blurred")
        elif index == self._hover:
            style = self._style("hover")
        if row is None:
            return Strip.blank(width, style.rich_style)
        mark = MARK if row.reply_id in self.marked else " "
        return self._strip(exchange_columns.line(row, self._line_width, self._now()), style, width, mark)

    def _strip(self, content: Content, style: Style, width: int, mark: str = " ") -> Strip:
        segments = [Segment(mark, (style + self._style_of_mark(style)).rich_style)]
        for text, text_style in content.render(style, end="", parse_style=self._parsed):
            segments.append(Segment(text, (style + text_style).rich_style))
        return Strip(segments).adjust_cell_length(width, style.rich_style)

    def _style_of_mark(self, row: Style) -> Style:
        return self.get_visual_style("mark", partial=True) + Style(background=row.background)

    def _parsed(self, name: str | Style) -> Style:
        return name if isinstance(name, Style) else self.get_visual_style(name.lstrip("."), partial=True)

    # --- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return self.count > 0 if action == "open" else True

    def action_open(self) -> None:
        if (row := self.row) is not None:
            self.post_message(self.Opened(row))

    def go_to(self, index: int) -> None:
        self._cursor = max(0, min(index, self.count - 1))
        top, height = self.scroll_offset.y, max(1, self.size.height - 1)
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)
        if self._more and self._cursor >= self.count - height:
            self.post_message(self.FurtherWanted())
        self.refresh()
        self._tell()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._more and new_value >= self.max_scroll_y:
            self.post_message(self.FurtherWanted())

    # --- mouse

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            if (sort := exchange_columns.sort_at(self._line_width, event.x - 1)) is not None:
                self.post_message(self.SortWanted(sort))
            return
        index = event.y - 1 + self.scroll_offset.y
        if index < self.count:
            self.go_to(index)
            if event.chain > 1:
                self.action_open()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        index = event.y - 1 + self.scroll_offset.y
        if index != self._hover:
            self._hover = index
            self.refresh()

    def on_leave(self) -> None:
        self._hover = None
        self.refresh()
