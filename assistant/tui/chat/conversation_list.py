"""The conversations, newest first, in groups. Rows are fetched a page at a time, when they come into sight."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
from assistant.tui.clock import day_start_ms
from assistant.tui.widgets.cursor_list import CursorList

PAGE_ROWS = 100
Key = tuple[bool, int]
"""(private, conversation id)"""
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
    def key(self) -> Key:
        """What tells it from all others."""
        return self.private, self.id


Fetch = Callable[[int, int], Sequence[ConversationRow]]
"""(offset, limit) -> rows: private ones first, then pinned ones, then the newest."""


@dataclass(frozen=True, slots=True)
class Listing:
    """How many rows there are, where each group of them begins, and the pages that were fetched."""

    count: int = 0
    headings: Sequence[tuple[int, str]] = ()
    """(line, group) of each heading."""
    pages: Mapping[int, Sequence[ConversationRow]] = field(default_factory=dict)


def listing(count: int, fetch: Fetch, now: datetime, pages: Collection[int] = ()) -> Listing:
    """A list of `count` rows with at least these pages. Groups are in order: bisecting finds them with few fetches."""
    fetched: dict[int, Sequence[ConversationRow]] = {}
    today_ms, yesterday_ms = day_start_ms(now), day_start_ms(now, 1)

    def page(number: int) -> Sequence[ConversationRow]:
        if number not in fetched:
            fetched[number] = fetch(number * PAGE_ROWS, PAGE_ROWS)
        return fetched[number]

    def group(index: int) -> int:
        number, into = divmod(index, PAGE_ROWS)
        rows = page(number)
        if into >= len(rows):  # deleted by another window since the rows were counted
            return len(GROUPS) - 1
        row = rows[into]
        if row.private or row.pinned:
            return 0 if row.private else 1
        return 2 if row.updated_ms >= today_ms else 3 if row.updated_ms >= yesterday_ms else 4

    headings: list[tuple[int, str]] = []
    start = 0
    while start < count:
        number = group(start)
        headings.append((start + len(headings), GROUPS[number]))
        if number == len(GROUPS) - 1:
            break
        end_of_page = min(start // PAGE_ROWS * PAGE_ROWS + PAGE_ROWS, count)
        upto = end_of_page if group(end_of_page - 1) > number else count
        start = bisect_left(range(count), number + 1, start, upto, key=group)
    for number in pages:
        if number * PAGE_ROWS < count:
            page(number)
    return Listing(count, headings, fetched)


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

    @dataclass
    class PageWanted(Message):
        """A page that is not here has come into sight."""

        number: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._pages: dict[int, Sequence[ConversationRow]] = {}
        self._wanted: set[int] = set()
        """Pages that are on their way."""
        self._headings: Sequence[tuple[int, str]] = ()
        self._hover: int | None = None
        self._open: Key | None = None
        self._to_open = False
        """Another conversation was opened, and its row was not here yet."""
        self._busy: frozenset[Key] = frozenset()

    # --- what is shown

    def show(self, rows: Listing) -> None:
        """Show these rows. The cursor stays on the row it was on, where that is near."""
        under_cursor = self.cursor_row
        self.count, self._headings = rows.count, rows.headings
        self._pages, self._wanted = dict(rows.pages), set()
        self.virtual_size = Size(0, rows.count + len(rows.headings))
        self._cursor = self._near_cursor(under_cursor)
        self._go_to_open()
        self._hover = None
        self.refresh()
        self.refresh_bindings()

    def put(self, number: int, rows: Sequence[ConversationRow]) -> None:
        """Take a page that was wanted."""
        self._pages[number] = rows
        self.refresh()
        self.refresh_bindings()

    @property
    def pages_in_sight(self) -> set[int]:
        """The pages of the rows on the screen and of the cursor."""
        first = max(0, self.scroll_offset.y - len(self._headings))
        last = self.scroll_offset.y + self.size.height
        return {0, first // PAGE_ROWS, last // PAGE_ROWS, self._cursor // PAGE_ROWS}

    def mark(self, opened: Key | None, busy: frozenset[Key] = frozenset()) -> None:
        """Mark the conversation that is open and those whose replies are growing."""
        if opened != self._open:
            self._open = opened
            self._to_open = True
        self._go_to_open()
        self._busy = busy
        self.refresh()

    def _go_to_open(self) -> None:
        """Put the cursor on a conversation that was opened, as soon as its row is here."""
        found = next((i for i, row in self._fetched() if row.key == self._open), None)
        if self._to_open and found is not None:
            self._cursor, self._to_open = found, False

    @property
    def cursor_row(self) -> ConversationRow | None:
        """The row under the cursor, if it is here."""
        return self._row(self._cursor) if self._cursor < self.count else None

    def _row(self, index: int) -> ConversationRow | None:
        """The row with this number; None until its page has come, and where another window deleted it."""
        number, into = divmod(index, PAGE_ROWS)
        page = self._pages.get(number)
        if page is None:
            if number not in self._wanted:
                self._wanted.add(number)
                # Not at once: a message that is made while the screen draws counts as the screen's, and may not bubble.
                self.call_later(lambda: self.post_message(self.PageWanted(number)))
            return None
        return page[into] if into < len(page) else None

    def _fetched(self) -> list[tuple[int, ConversationRow]]:
        return [(number * PAGE_ROWS + i, row) for number, page in self._pages.items() for i, row in enumerate(page)]

    def _near_cursor(self, row: ConversationRow | None) -> int:
        if row is not None:
            for index, other in self._fetched():
                if other.key == row.key:
                    return index
        return max(0, min(self._cursor, self.count - 1))

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
        row = self._row(index) or ConversationRow(-1, "", 0)
        is_open = row.key == self._open
        has_cursor = index == self._cursor and self.has_focus
        style = self._style("cursor" if has_cursor else "hover" if index == self._hover else "row")
        marked = style + self.get_visual_style("open", partial=True)
        more = "… " if has_cursor or index == self._hover else ""
        busy = "▍ " if row.key in self._busy else ""
        room = width - 2 - len(more) - len(busy)
        title = shorten(row.title, room) or ("Untitled" if row.id >= 0 else "")
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

    def region_of(self, index: int) -> Region:
        line = self._line_of(index)
        top = line - 1 if self._index_at(line - 1) is None else line  # with its heading
        return Region(0, max(0, top), 1, line - top + 1)

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
