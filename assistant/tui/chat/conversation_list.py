"""The conversations, newest first, in groups. Rows are fetched a page at a time, when they come into sight."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.style import Style

from assistant.safe_text import cell_width, shorten
from assistant.tui import keys
from assistant.tui.clock import day_start_ms, local_now
from assistant.tui.widgets.cursor_list import CursorList

PAGE_ROWS = 100
GROUPS = ("private", "pinned", "today", "yesterday", "earlier")


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """One conversation of the list. Private ones have ids of their own."""

    id: int
    title: str
    updated_ms: int
    pinned: bool = False
    private: bool = False

    @property
    def key(self) -> tuple[bool, int]:
        """What tells it from all others."""
        return self.private, self.id


Fetch = Callable[[int, int], Sequence[ConversationRow]]
"""(offset, limit) -> rows: private ones first, then pinned ones, then the newest."""


class ConversationList(CursorList, can_focus=True):
    """A list that starts as fast with 10,000 rows as with ten: it holds no widget for a row and fetches few of them."""

    BINDINGS: ClassVar[list[BindingType]] = keys.LIST
    COMPONENT_CLASSES: ClassVar[set[str]] = {"group", "row", "open", "cursor", "hover"}
    DEFAULT_CSS = """
    ConversationList {
        height: 1fr;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        & > .group { color: $foreground 60%; }
        & > .open { color: $accent; }
        & > .cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & > .hover { background: $surface; }
    }
    """

    @dataclass
    class Opened(Message):
        """A row was chosen."""

        row: ConversationRow

    @dataclass
    class ActionWanted(Message):
        """`action` (rename, pin, delete, more) is wanted for `row`."""

        action: str
        row: ConversationRow

    @dataclass
    class Asked(Message):
        """`action` (new, undo, search) is wanted, for no row."""

        action: str

    def __init__(self, *, now: Callable[[], datetime] = local_now, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._now = now
        self._fetch: Fetch = lambda _offset, _limit: ()
        self._pages: dict[int, Sequence[ConversationRow]] = {}
        self._headings: list[tuple[int, str]] = []
        """(line, group) of each heading."""
        self._hover: int | None = None
        self._open: tuple[bool, int] | None = None
        self._busy: frozenset[tuple[bool, int]] = frozenset()

    # --- what is shown

    def show(self, count: int, fetch: Fetch) -> None:
        """Show `count` rows that `fetch` gives. The cursor stays on the row it was on, where that is near."""
        under_cursor = self.cursor_row
        self._fetch, self.count = fetch, count
        self._pages.clear()
        self._headings = self._find_headings()
        self.virtual_size = Size(0, count + len(self._headings))
        self._cursor = self._near_cursor(under_cursor)
        self._hover = None
        self.refresh()
        self.refresh_bindings()

    def mark(self, opened: tuple[bool, int] | None, busy: frozenset[tuple[bool, int]] = frozenset()) -> None:
        """Mark the conversation that is open and those whose replies are growing."""
        if opened != self._open:
            self._open = opened
            self._cursor = next((i for i in self._fetched() if self._row(i).key == opened), self._cursor)
        self._busy = busy
        self.refresh()

    @property
    def cursor_row(self) -> ConversationRow | None:
        """The row under the cursor, if there is any row."""
        return self._row(self._cursor) if self._cursor < self.count else None

    def _row(self, index: int) -> ConversationRow:
        number, into = divmod(index, PAGE_ROWS)
        if number not in self._pages:
            self._pages[number] = self._fetch(number * PAGE_ROWS, PAGE_ROWS)
        page = self._pages[number]
        # Another window may have deleted rows since they were counted.
        return page[into] if into < len(page) else ConversationRow(-1, "", 0)

    def _fetched(self) -> list[int]:
        return [number * PAGE_ROWS + i for number, page in self._pages.items() for i in range(len(page))]

    def _near_cursor(self, row: ConversationRow | None) -> int:
        if row is not None:
            for index in self._fetched():
                if self._row(index).key == row.key:
                    return index
        return max(0, min(self._cursor, self.count - 1))

    def _find_headings(self) -> list[tuple[int, str]]:
        """Where each group begins. Groups are in order, so bisecting finds them with few fetches."""
        now = self._now()
        today_ms, yesterday_ms = day_start_ms(now), day_start_ms(now, 1)

        def group(index: int) -> int:
            row = self._row(index)
            if row.private or row.pinned:
                return 0 if row.private else 1
            return 2 if row.updated_ms >= today_ms else 3 if row.updated_ms >= yesterday_ms else 4

        headings: list[tuple[int, str]] = []
        start = 0
        while start < self.count:
            number = group(start)
            headings.append((start + len(headings), GROUPS[number]))
            if number == len(GROUPS) - 1:
                break
            end_of_page = min(start // PAGE_ROWS * PAGE_ROWS + PAGE_ROWS, self.count)
            upto = end_of_page if group(end_of_page - 1) > number else self.count
            start = bisect_left(range(self.count), number + 1, start, upto, key=group)
        return headings

    def _line_of(self, index: int) -> int:
        line = index
        for heading, _ in self._headings:
            if heading <= line:
                line += 1
        return line

    def _index_at(self, line: int) -> int | None:
        """The row on `line`, None for a heading or below the end."""
        before = bisect_right(self._headings, line, key=lambda heading: heading[0])
        if before and self._headings[before - 1][0] == line:
            return None
        index = line - before
        return index if 0 <= index < self.count else None

    # --- drawing

    def render_line(self, y: int) -> Strip:
        line = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        heading = next((name for at, name in self._headings if at == line), None)
        if heading is not None:
            return self._strip([(f" {heading}", self._style("group"))], width)
        index = self._index_at(line)
        return Strip.blank(width, self.rich_style) if index is None else self._row_strip(index, width)

    def _row_strip(self, index: int, width: int) -> Strip:
        row = self._row(index)
        is_open = row.key == self._open
        has_cursor = index == self._cursor and self.has_focus
        style = self._style("cursor" if has_cursor else "hover" if index == self._hover else "row")
        marked = style + self.get_visual_style("open", partial=True)
        more = "… " if has_cursor or index == self._hover else ""
        busy = "▍ " if row.key in self._busy else ""
        room = width - 2 - len(more) - len(busy)
        title = shorten(row.title, room) or "Untitled"
        parts = [
            ("▌" if is_open else " ", marked),
            (title + " " * (room - cell_width(title) + 1), style + Style(bold=True) if is_open else style),
            (busy, marked),
            (more, style + Style.from_meta({"more": True})),
        ]
        return self._strip(parts, width)

    def _strip(self, parts: Sequence[tuple[str, Style]], width: int) -> Strip:
        segments = [Segment(text, style.rich_style) for text, style in parts if text]
        return Strip(segments).adjust_cell_length(width, parts[-1][1].rich_style)

    # --- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return self.count > 0 if action in ("open", "rename", "pin", "delete") else True

    def action_open(self) -> None:
        if (row := self.cursor_row) is not None:
            self.post_message(self.Opened(row))

    def action_rename(self) -> None:
        self._want("rename")

    def action_pin(self) -> None:
        self._want("pin")

    def action_delete(self) -> None:
        self._want("delete")

    def action_new(self) -> None:
        self.post_message(self.Asked("new"))

    def action_undo(self) -> None:
        self.post_message(self.Asked("undo"))

    def action_search(self) -> None:
        self.post_message(self.Asked("search"))

    def _want(self, action: str) -> None:
        if (row := self.cursor_row) is not None:
            self.post_message(self.ActionWanted(action, row))

    def go_to(self, index: int) -> None:
        self._cursor = max(0, min(index, self.count - 1))
        line = self._line_of(self._cursor)
        top = line - 1 if self._index_at(line - 1) is None else line  # with its heading
        self.scroll_to_region(Region(0, max(0, top), 1, line - top + 1), animate=False, force=True)
        self.refresh()

    # --- mouse

    def on_click(self, event: events.Click) -> None:
        index = self._index_at(event.y + self.scroll_offset.y)
        if index is None:
            return
        self._cursor = index
        self.refresh()
        if event.style.meta.get("more"):
            self._want("more")
        else:
            self.action_open()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        index = self._index_at(event.y + self.scroll_offset.y)
        if index != self._hover:
            self._hover = index
            self.refresh()

    def on_leave(self) -> None:
        self._hover = None
        self.refresh()
