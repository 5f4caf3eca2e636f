"""The messages of a conversation, one a line, with lines that show where they branch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from assistant.safe_text import cell_width, shorten
from assistant.tui.widgets.cursor_list import CursorList

_DEEPEST = 12
"""Branches further from the open path are not set further in: the words need the room."""
_NARROWEST_HEAD = 16


@dataclass(frozen=True, slots=True)
class BranchRow:
    """One message. `depth` is how many branchings away from the open path it is; `begins` of the first of a branch."""

    id: int
    parent_id: int | None
    name: str
    head: str
    depth: int
    begins: bool
    on_open_path: bool
    marks: str = ""

    @property
    def guides(self) -> str:
        """The lines left of it."""
        if not self.depth:
            return ""
        lines = "│ " * (min(self.depth, _DEEPEST) - 1)
        return lines + ("├─" if self.begins else "│ ")


class BranchTree(CursorList, can_focus=True):
    """Draws the lines in sight and no others, so that thousands of messages scroll like ten."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False, id="branches.up"),
        Binding("down", "move(1)", "Down", show=False, id="branches.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="branches.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="branches.page_down"),
        Binding("home", "to_start", "First message", show=False, id="branches.start"),
        Binding("end", "to_end", "Last message", show=False, id="branches.end"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"row", "guide", "open", "mark", "cursor"}
    DEFAULT_CSS = """
    BranchTree {
        height: 1fr;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        & > .row, & > .guide { color: $foreground 60%; }
        & > .open { color: $foreground; }
        & > .mark { color: $text-accent; }
        & > .cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
    }
    """

    class Opened(Message):
        """The message under the cursor was clicked again."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows: Sequence[BranchRow] = ()
        self._siblings: dict[int | None, list[int]] = {}
        """Message that was answered -> the lines of its answers, by their age."""
        self._name_cells = 0

    def show(self, rows: Sequence[BranchRow], message_id: int | None) -> None:
        """Show these messages, with the cursor on `message_id`."""
        self._rows, self.count = rows, len(rows)
        self._siblings = {}
        for line in sorted(range(len(rows)), key=lambda line: rows[line].id):
            self._siblings.setdefault(rows[line].parent_id, []).append(line)
        self._name_cells = max((cell_width(row.name) for row in rows), default=0)
        self.virtual_size = Size(0, len(rows))
        at = next((line for line, row in enumerate(rows) if row.id == message_id), len(rows) - 1)
        self.call_after_refresh(self.go_to, at)

    @property
    def cursor_row(self) -> BranchRow | None:
        """The message under the cursor, if there is any."""
        return self._rows[self._cursor] if self._cursor < self.count else None

    # --- drawing

    def render_line(self, y: int) -> Strip:
        line = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if line >= self.count:
            return Strip.blank(width, self.rich_style)
        row = self._rows[line]
        at_cursor = line == self._cursor
        plain = "cursor" if at_cursor else "open" if row.on_open_path else "row"
        left = f" {row.guides}"
        bullet = "● " if row.on_open_path else "○ "
        name = row.name + " " * (self._name_cells - cell_width(row.name) + 2)
        room = width - cell_width(left) - 2 - cell_width(name)
        marks = row.marks if room - cell_width(row.marks) - 2 >= _NARROWEST_HEAD else ""
        head = shorten(row.head, max(1, room - (cell_width(marks) + 2 if marks else 1)))
        gap = " " * max(0, room - cell_width(head) - cell_width(marks) - 1)
        parts = [
            (left, "cursor" if at_cursor else "guide"),
            (bullet, "cursor" if at_cursor else "mark" if row.on_open_path else "guide"),
            (name + head + gap, plain),
            (f"{marks} ", "cursor" if at_cursor else "mark"),
        ]
        segments = [Segment(text, self._style(style).rich_style) for text, style in parts]
        return Strip(segments).adjust_cell_length(width, self._style(plain).rich_style)

    # --- the cursor

    @property
    def versions(self) -> int:
        """How many versions of the message under the cursor there are, itself among them."""
        row = self.cursor_row
        return 0 if row is None else len(self._siblings[row.parent_id])

    def go_to_sibling(self, step: int) -> None:
        """Go to the version before or after."""
        row = self.cursor_row
        if row is not None:
            siblings = self._siblings[row.parent_id]
            at = siblings.index(self._cursor) + step
            if 0 <= at < len(siblings):
                self.go_to(siblings[at])

    # --- mouse

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        if line >= self.count:
            return
        if line == self._cursor:
            self.post_message(self.Opened())
        else:
            self.go_to(line)
