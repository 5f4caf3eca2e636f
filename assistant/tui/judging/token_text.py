"""A reply whose tokens are shaded by how unlikely each was, with a cursor that goes from token to token."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.color import Color
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from assistant import shades
from assistant.safe_text import cell_width, printable
from assistant.tui import keys

if TYPE_CHECKING:
    from assistant.events import Token

LINE_END = "↵"
STRONGEST = 0.75
"""Share of the theme's error colour behind the least likely tokens: the text on it stays readable."""


class Piece(NamedTuple):
    """A part of a token on one line, from the cell `x` on."""

    token: int
    text: str
    x: int


class TokenText(ScrollView, can_focus=True, inherit_bindings=False):
    """`show` gives it tokens; `cursor` is the index of one of them."""

    BINDINGS: ClassVar[list[BindingType]] = keys.TOKEN_TEXT
    DEFAULT_CSS = "TokenText { scrollbar-size-vertical: 1; }"

    class Moved(Message):
        """The cursor is on another token."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._tokens: Sequence[Token] = ()
        self._lines: list[list[Piece]] = []
        self.cursor = 0

    def show(self, tokens: "Sequence[Token]") -> None:
        """Show these, the cursor where it was."""
        self._tokens = tokens
        self._lay_out()
        self._go_to(self.cursor)

    def _lay_out(self) -> None:
        width = max(8, self.scrollable_content_region.width)
        self._lines = laid_out([printable(token.text) for token in self._tokens], width)
        self.virtual_size = Size(width, len(self._lines))
        self.refresh()

    def on_resize(self) -> None:
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        pieces = self._lines[at] if at < len(self._lines) else []
        plain = self.rich_style
        segments = [Segment(piece.text, plain + self._style(piece.token)) for piece in pieces]
        return Strip(segments).adjust_cell_length(self.size.width, plain)

    def _style(self, index: int) -> Style:
        if index == self._shown_cursor:
            return Style(reverse=True, bold=True)
        strong = shades.strength(self._tokens[index].logprob or 0.0)
        if not strong:
            return Style.null()
        colours = self.app.theme_variables
        behind = Color.parse(colours["background"]).blend(Color.parse(colours["error"]), strong * STRONGEST)
        return Style(bgcolor=behind.rich_color, underline=self.app.no_color and strong > 1 / 3)

    @property
    def _shown_cursor(self) -> int:
        """Where the cursor is seen: a token that is a part of a character has no text, the next one has."""
        rest = range(self.cursor, len(self._tokens))
        return next((index for index in rest if self._tokens[index].text), self.cursor)

    # --- the cursor

    def _go_to(self, index: int) -> None:
        self.cursor = max(0, min(index, len(self._tokens) - 1))
        line = self._line_of(self._shown_cursor)
        self.scroll_to_region(Region(0, line, 1, 1), animate=False, force=True)
        self.refresh()
        if self._tokens:
            self.post_message(self.Moved(self.cursor))

    def _line_of(self, index: int) -> int:
        return next((y for y, line in enumerate(self._lines) if line and line[-1].token >= index), 0)

    def action_move(self, step: int) -> None:
        self._go_to(self.cursor + step)

    def action_line(self, step: int) -> None:
        """To the token above or below, or so many lines away."""
        if not self._lines:
            return
        here = self._line_of(self._shown_cursor)
        x = next((piece.x for piece in self._lines[here] if piece.token == self._shown_cursor), 0)
        there = max(0, min(here + step, len(self._lines) - 1))
        while 0 < there < len(self._lines) - 1 and not self._lines[there]:
            there += 1 if step > 0 else -1
        before = [piece.token for piece in self._lines[there] if piece.x <= x]
        if before:
            self._go_to(before[-1])

    def action_page(self, pages: int) -> None:
        self.action_line(pages * max(1, self.size.height - 1))

    def action_to_start(self) -> None:
        self._go_to(0)

    def action_to_end(self) -> None:
        self._go_to(len(self._tokens) - 1)

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        if line < len(self._lines):
            before = [piece.token for piece in self._lines[line] if piece.x <= event.x]
            self._go_to(before[-1] if before else self.cursor)


def laid_out(texts: Sequence[str], width: int) -> list[list[Piece]]:
    """Tokens as lines of `width` cells, broken between tokens where that can be. A line end shows as ↵."""
    lines: list[list[Piece]] = [[]]
    x = 0
    for index, text in enumerate(texts):
        for number, part in enumerate(text.split("\n")):
            if number:
                lines[-1].append(Piece(index, LINE_END, x))
                lines.append([])
                x = 0
            while part:
                if x and x + cell_width(part) > width - 1:
                    lines.append([])
                    x = 0
                fitting = _fitting(part, width - 1)
                lines[-1].append(Piece(index, fitting, x))
                x += cell_width(fitting)
                part = part[len(fitting) :]
    return lines


def _fitting(text: str, width: int) -> str:
    """As many characters as `width` cells hold, at least one."""
    if cell_width(text) <= width:
        return text
    end = 1
    while end < len(text) and cell_width(text[: end + 1]) <= width:
        end += 1
    return text[:end]
