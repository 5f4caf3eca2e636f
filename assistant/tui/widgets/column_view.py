"""A column of styled lines on the screen, drawn line by line."""

from typing import Any, ClassVar, Generic

from rich.segment import Segment
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style

from assistant.tui.widgets.column import Column, E
from assistant.tui.widgets.rows import Line

_GUTTER = 2
"""Cells left of the text, for the bar beside what is marked."""
_WIDEST_TEXT = 120
"""Longer lines are hard to read."""


class ColumnView(ScrollView, Generic[E]):
    """Shows a `Column`. It stays at the end while the column grows, unless the reader scrolled away from there."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "bar", "code", "code-inline", "em", "error", "heading", "link", "mark", "quiet", "role", "strike", "strong",
        "title",
    }  # fmt: skip
    DEFAULT_CSS = """
    ColumnView {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        & > .bar { color: $accent; }
        & > .role, & > .mark, & > .title { color: $text-accent; }
        & > .role, & > .strong, & > .heading { text-style: bold; }
        & > .title { text-style: bold; }
        & > .quiet { color: $foreground 60%; }
        & > .error { color: $text-error; }
        & > .em { text-style: italic; }
        & > .strike { text-style: strike; }
        & > .link { text-style: underline; }
        & > .code { background: $surface; }
        & > .code-inline { color: $text-accent; background: $surface; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._column: Column[E] = Column()
        self._following = True
        self._settling = False
        self._styles_known: dict[str | Style, Style] = {}
        self._drawn: LRUCache[tuple[int, bool], tuple[Line, Strip]] = LRUCache(512)
        """Strips by line and whether it is marked, with the line that they show."""

    def is_marked(self, line: int) -> bool:  # noqa: ARG002
        """Whether a bar stands beside this line."""
        return False

    # --- the reader's place

    @property
    def _text_width(self) -> int:
        """Cells for a line of text."""
        return max(10, min(self.scrollable_content_region.width - _GUTTER - 1, _WIDEST_TEXT))

    @property
    def _view_height(self) -> int:
        return self.scrollable_content_region.height

    def _settle(self) -> None:
        """Lay out what is in sight and near it, and keep the reader's place."""
        if self._settling or not self._view_height:
            return
        self._settling = True
        try:
            top = self._column.settle(self.scroll_offset.y, self._view_height, at_end=self._following)
            self._resize_column()
            self.scroll_to(y=top, animate=False, force=True)
            self.vertical_scrollbar.position = top  # Textual leaves it where it is until the bar is on screen
        finally:
            self._settling = False
        self.refresh()

    def _resize_column(self) -> None:
        """Tell Textual how high the column is. A new `virtual_size` lays out the whole screen, 5 ms for each update of
        a reply that grows, where nothing but the scrollbar's thumb can change once there is a scrollbar."""
        size = Size(self.scrollable_content_region.width, self._column.height)
        if self.show_vertical_scrollbar and size.height > self._view_height:
            self.set_reactive(ScrollView.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
        else:
            self.virtual_size = size

    def on_resize(self) -> None:
        """Lay out everything anew, with the same message at the top."""
        self._drawn.clear()
        at = self._column.position(self.scroll_offset.y)
        into = 0 if at is None else self.scroll_offset.y - self._column.tops[at]
        self._column.reflow(self._text_width)
        if at is not None and not self._following:
            self._column.settle(self._column.tops[at], self._view_height)
            last = self._column.tops[at + 1] - 1
            self._resize_column()
            self.set_reactive(ScrollView.scroll_y, min(self._column.tops[at] + into, last))
        self._settle()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._settling:
            self._following = new_value >= self.max_scroll_y
            self._settle()

    def follow(self) -> None:
        """Go to the end, and stay there while a reply grows."""
        self._following = True
        self._settle()

    def scroll_page_up(self, **options: Any) -> None:
        """Without animation: its frames would overwrite the position when a height above turns out different."""
        super().scroll_page_up(**options | {"animate": False})

    def scroll_page_down(self, **options: Any) -> None:
        super().scroll_page_down(**options | {"animate": False})

    # --- drawing

    def render_line(self, y: int) -> Strip:
        y += self.scroll_offset.y
        line = self._column.line(y)
        if line is None:
            return Strip.blank(self.scrollable_content_region.width, self.visual_style.rich_style)
        marked = self.is_marked(y)
        known = self._drawn.get((y, marked))
        if known is not None and known[0].looks_like(line) and self.text_selection is None:
            return known[1]
        strip = self._draw(line, y, marked=marked)
        if self.text_selection is None:
            self._drawn[(y, marked)] = (line, strip)
        return strip

    def _draw(self, line: Line, y: int, *, marked: bool) -> Strip:
        """The bar, the text, and space to the right edge. Each piece carries its place, by which text is selected."""
        width = self.scrollable_content_region.width
        plain = self.visual_style
        style = plain + self._style(line.fill) if line.fill else plain
        bar = plain + self._style(".bar") if marked else plain
        segments = [Segment("▌ " if marked else "  ", bar.rich_style)]
        x = 0
        content = self._with_selection(line.content, y)
        for text, text_style in content.render(style, end="", parse_style=self._style):
            segments.append(Segment(text, (style + text_style).rich_style_with_offset(x, y)))
            x += len(text)
        filled = max(0, self._text_width - content.cell_length)
        segments.append(Segment(" " * filled, style.rich_style_with_offset(x, y)))
        used = _GUTTER + content.cell_length + filled
        segments.append(Segment(" " * max(0, width - used), plain.rich_style))
        return Strip(segments, max(used, width))

    def _with_selection(self, content: Content, y: int) -> Content:
        """`content` with what the mouse selected of it."""
        span = None if self.text_selection is None else self.text_selection.get_span(y)
        if span is None:
            return content
        style = Style.from_styles(self.screen.get_component_styles("screen--selection"))
        return content.stylize(style, span[0], len(content) if span[1] == -1 else span[1])

    def _style(self, name: str | Style) -> Style:
        """The style that `name` stands for in this theme: `.strong` is a component class, `$text-accent` a colour."""
        style = self._styles_known.get(name)
        if style is None:
            style = self._styles_known[name] = self._parse_style(name)
        return style

    def _parse_style(self, name: str | Style) -> Style:
        if isinstance(name, Style):
            return name
        if name.startswith("."):
            background = self.get_component_styles(name[1:]).background  # a partial style has none where it is opaque
            return self.get_visual_style(name[1:], partial=True) + Style(background=background)
        return Style.parse(name, self.app.theme_variables)

    def on_focus(self) -> None:
        self._redraw()

    def on_blur(self) -> None:
        self._redraw()

    def _redraw(self) -> None:
        self._drawn.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_known.clear()
        self._drawn.clear()

    # --- text selected with the mouse

    def selection_updated(self, _: Selection | None) -> None:
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, wrapped lines joined again."""
        first = selection.start.y if selection.start else 0
        last = selection.end.y if selection.end else self._column.height
        text = ""
        for y in range(first, min(last, self._column.height - 1) + 1):
            line, span = self._column.line(y), selection.get_span(y)
            if line is None or span is None:
                continue
            plain = line.content.plain
            start = span[0] if line.glue is None or y == first else max(span[0], line.indent)
            glue = "\n" if line.glue is None else line.glue
            text += (glue if y > first else "") + plain[start : len(plain) if span[1] == -1 else span[1]].rstrip()
        return text, "\n"
