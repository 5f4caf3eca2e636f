"""The messages of one conversation.

One widget draws them all, line by line, and lays out only what is near the reader. A widget for each message, or for
each paragraph as in Textual's `Markdown`, would cost 1 ms each to mount and a layout of all of them for each token.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.timer import Timer

from assistant.tui.widgets.column import Column
from assistant.tui.widgets.message import MessageView, Notice, ShownMessage
from assistant.tui.widgets.rows import Line

_GUTTER = 2
"""Cells left of the text, for the bar beside the selected message."""
_WIDEST_TEXT = 120
"""Longer lines are hard to read."""
_SHORTEST_INTERVAL_S = 0.04
_BUSY_SHARE = 0.25
"""A reply that grows may take this share of the time: the interval between two updates follows the cost of the last."""
_LONG_CHARACTERS = 4_000
"""A reply longer than this is rendered in a thread when it ends: 10 ms and more on a slow machine."""


class Transcript(ScrollView, can_focus=True):
    """Messages from oldest to newest. It follows a reply that grows as long as the reader is at the end."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select_previous", "Previous message", show=False, id="transcript.previous"),
        Binding("down", "select_next", "Next message", show=False, id="transcript.next"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="transcript.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="transcript.page_down"),
        Binding("home", "to_start", "First message", show=False, id="transcript.start"),
        Binding("end", "to_end", "Last message", show=False, id="transcript.end"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "bar", "code", "code-inline", "em", "error", "heading", "link", "mark", "quiet", "role", "strike", "strong",
        "title",
    }  # fmt: skip
    DEFAULT_CSS = """
    Transcript {
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

    @dataclass
    class MessageSelected(Message):
        """The selected message is now `message_id`, or none."""

        message_id: int | None

    class LeaveDown(Message):
        """Down was pressed on the last message."""

    @dataclass
    class SiblingWanted(Message):
        """The reader clicked the ‹ or › of a message. `step` is -1 or 1."""

        message_id: int
        step: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.selected: int | None = None
        self._column: Column[ShownMessage | Notice] = Column()
        self._following = True
        self._settling = False
        self._growing: ShownMessage | None = None
        self._flush_timer: Timer | None = None
        self._next_flush_s = 0.0
        self._styles_known: dict[str | Style, Style] = {}
        self._drawn: LRUCache[tuple[int, bool], tuple[Line, Strip]] = LRUCache(512)
        """Strips by line and whether it is selected, with the line that they show."""

    # --- messages

    def show(self, messages: Sequence[MessageView]) -> None:
        """Show another conversation, from its end."""
        self._stop_growing()
        self._column.fill([ShownMessage(view) for view in messages])
        self.selected = None
        self.follow()
        if self.has_focus:
            self.select_last()

    def add(self, view: MessageView) -> None:
        """Put a message at the end, and go there."""
        self._put(ShownMessage(view))

    def notice(self, text: str) -> None:
        """Put a quiet line at the end."""
        self._put(Notice(text), follow=False)

    def start_stream(self, view: MessageView) -> None:
        """Put a message at the end, or take the one with this id, and let it grow."""
        self._stop_growing()
        message = ShownMessage(view)
        message.start()
        self._growing = message
        self._next_flush_s = 0.0
        position = self._position(view.id)
        if position is None:
            self._put(message)
        else:
            self._following = True
            self._replace(position, message)

    async def append(self, message_id: int, text: str) -> None:
        """Let the message that streams grow by `text`. It is shown soon: as often as there is time for."""
        message = self._growing
        if message is None or message.view.id != message_id:
            return
        message.arrive(text)
        wait_s = self._next_flush_s - monotonic()
        if wait_s <= 0:
            self._flush()
        elif self._flush_timer is None:
            self._flush_timer = self.set_timer(wait_s, self._flush)

    async def end_stream(self, view: MessageView) -> None:
        """The message that streamed is finished: `view` is how it stays."""
        message = self._growing
        self._stop_growing()
        if message is None or message.view.id != view.id:
            self.update(view)
            return
        width = self._text_width
        if len(view.text) > _LONG_CHARACTERS:
            finished = await asyncio.to_thread(message.finished, view, width)
        else:
            finished = message.finished(view, width)
        self._exchange(message, finished)

    def update(self, view: MessageView) -> None:
        """Show a message anew."""
        position = self._position(view.id)
        if position is not None:
            self._replace(position, ShownMessage(view))

    def remove_from(self, message_id: int) -> None:
        """Take away this message and all after it."""
        position = self._position(message_id)
        if position is None:
            return
        if self._growing in self._entries[position:]:
            self._stop_growing()
        self._column.cut(position)
        if self.selected is not None and self._position(self.selected) is None:
            self.select(None)
        self._settle()

    def view(self, message_id: int) -> MessageView:
        """The message as it is shown. Raises `KeyError` where there is none."""
        return self._message(message_id).view

    def answer(self, message_id: int) -> str:
        """The text of a message without its reasoning: what is copied."""
        return self._message(message_id).answer

    def code_blocks(self, message_id: int) -> list[str]:
        """The code blocks of a message, first to last."""
        return self._message(message_id).code_blocks()

    def toggle_reasoning(self, message_id: int) -> None:
        """Fold or unfold the reasoning of a message; nothing happens where there is none."""
        position = self._position(message_id)
        if position is not None:
            self._message(message_id).toggle_reasoning()
            self._replace(position, self._entries[position])

    def unfold(self, message_id: int) -> None:
        """Show all of a long message."""
        self.run_worker(self._unfold(self._message(message_id)), exclusive=False)

    async def _unfold(self, message: ShownMessage) -> None:
        self._exchange(message, await asyncio.to_thread(message.unfolded, self._text_width))

    def _message(self, message_id: int) -> ShownMessage:
        position = self._position(message_id)
        entry = None if position is None else self._entries[position]
        if not isinstance(entry, ShownMessage):
            raise KeyError(message_id)
        return entry

    def _position(self, message_id: int) -> int | None:
        for i in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[i]
            if isinstance(entry, ShownMessage) and entry.view.id == message_id:
                return i
        return None

    def _put(self, entry: ShownMessage | Notice, *, follow: bool = True) -> None:
        self._following = self._following or follow
        self._column.append(entry)
        self._settle()

    def _replace(self, position: int, entry: ShownMessage | Notice) -> None:
        self._column.replace(position, entry)
        self._settle()

    def _exchange(self, old: ShownMessage, new: ShownMessage) -> None:
        """Put `new` in the place of `old`, if that is still shown."""
        if old in self._entries:
            self._replace(self._entries.index(old), new)

    # --- growing

    def _flush(self) -> None:
        """Show what arrived, and decide when to do so next."""
        self._cancel_flush()
        message = self._growing
        if message is None:
            return
        started_s = monotonic()
        message.show_arrived()
        self._exchange(message, message)
        ended_s = monotonic()
        self._next_flush_s = ended_s + max(_SHORTEST_INTERVAL_S, (ended_s - started_s) * (1 / _BUSY_SHARE - 1))

    def _stop_growing(self) -> None:
        self._cancel_flush()
        if self._growing is not None:
            self._growing.show_arrived()
        self._growing = None

    def _cancel_flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.stop()
            self._flush_timer = None

    # --- where everything is

    @property
    def _text_width(self) -> int:
        """Cells for a line of text."""
        return max(10, min(self.scrollable_content_region.width - _GUTTER - 1, _WIDEST_TEXT))

    @property
    def _view_height(self) -> int:
        return self.scrollable_content_region.height

    @property
    def _entries(self) -> list[ShownMessage | Notice]:
        return self._column.entries

    def _settle(self) -> None:
        """Lay out what is in sight and near it, and keep the reader's place."""
        if self._settling or not self._view_height:
            return
        self._settling = True
        try:
            top = self._column.settle(self.scroll_offset.y, self._view_height, at_end=self._following)
            self.virtual_size = Size(self.scrollable_content_region.width, self._column.height)
            self.scroll_to(y=top, animate=False, force=True)
            self.vertical_scrollbar.position = top  # Textual leaves it where it is until the bar is on screen
        finally:
            self._settling = False
        self.refresh()

    def on_resize(self) -> None:
        """Lay out everything anew, with the same message at the top."""
        self._drawn.clear()
        at = self._column.position(self.scroll_offset.y)
        into = 0 if at is None else self.scroll_offset.y - self._column.tops[at]
        self._column.reflow(self._text_width)
        if at is not None and not self._following:
            self._column.settle(self._column.tops[at], self._view_height)
            last = self._column.tops[at + 1] - 1
            self.virtual_size = Size(self.scrollable_content_region.width, self._column.height)
            self.set_reactive(ScrollView.scroll_y, min(self._column.tops[at] + into, last))
        self._settle()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._settling:
            self._following = new_value >= self.max_scroll_y
            self._settle()

    # --- the reader

    def select(self, message_id: int | None) -> None:
        """Select a message and bring it into sight."""
        self.selected = message_id
        position = None if message_id is None else self._position(message_id)
        if position is not None:
            self._bring_into_sight(position)
        self.refresh()
        self.post_message(self.MessageSelected(message_id))

    def select_last(self) -> None:
        """Select the newest message."""
        self.select(next(self._messages(reversed(self._entries)), None))

    def on_focus(self) -> None:
        if self.selected is None and self._entries:
            self.select_last()
        self._drawn.clear()
        self.refresh()

    def on_blur(self) -> None:
        self._drawn.clear()
        self.refresh()

    def action_select_previous(self) -> None:
        position = self._selected_position()
        if position is None:
            self.select_last()
        elif self._column.tops[position] < self.scroll_offset.y:
            self._go_to(max(self._column.tops[position], self.scroll_offset.y - self._step))
        else:
            self.select(next(self._messages(reversed(self._entries[:position])), self.selected))

    def action_select_next(self) -> None:
        position = self._selected_position()
        below = (
            0 if position is None else self._column.tops[position + 1] - 1 - self.scroll_offset.y - self._view_height
        )
        following = [] if position is None else list(self._messages(self._entries[position + 1 :]))
        if below > 0:
            self._go_to(self.scroll_offset.y + min(below, self._step))
        elif following:
            self.select(following[0])
        else:
            self.post_message(self.LeaveDown())

    def action_page(self, direction: int) -> None:
        self._go_to(self.scroll_offset.y + direction * self._step)

    def action_to_start(self) -> None:
        """Go to the first message and select it."""
        self._go_to(0)
        self.select(next(self._messages(self._entries), None))

    def action_to_end(self) -> None:
        """Go to the end and follow what comes."""
        self.select_last()
        self.follow()

    def follow(self) -> None:
        """Go to the end, and stay there while a reply grows."""
        self._following = True
        self._settle()

    def scroll_page_up(self, **options: Any) -> None:
        """Without animation: its frames would overwrite the position when a height above turns out different."""
        super().scroll_page_up(**options | {"animate": False})

    def scroll_page_down(self, **options: Any) -> None:
        super().scroll_page_down(**options | {"animate": False})

    @property
    def _step(self) -> int:
        """Lines of a page, two less than the screen has so that the eye finds its place."""
        return max(1, self._view_height - 2)

    @staticmethod
    def _messages(entries: Iterable[ShownMessage | Notice]) -> Iterator[int]:
        return (entry.view.id for entry in entries if isinstance(entry, ShownMessage))

    def _selected_position(self) -> int | None:
        return None if self.selected is None else self._position(self.selected)

    def _go_to(self, line: int) -> None:
        self.scroll_to(y=line, animate=False)

    def _bring_into_sight(self, position: int) -> None:
        """Scroll as little as shows the message, or its beginning where it is higher than the screen."""
        top, bottom, height = self._column.tops[position], self._column.tops[position + 1], self._view_height
        if top < self.scroll_offset.y or bottom - top > height:
            self._go_to(top)
        elif bottom > self.scroll_offset.y + height:
            self._go_to(bottom - height)

    def on_click(self, event: events.Click) -> None:
        entry = self._entry_at(event.y + self.scroll_offset.y)
        if not isinstance(entry, ShownMessage):
            return
        self.selected = entry.view.id
        self.refresh()
        self.post_message(self.MessageSelected(entry.view.id))
        part = event.style.meta.get("part")
        if part == "reasoning":
            self.toggle_reasoning(entry.view.id)
        elif part == "more":
            self.unfold(entry.view.id)
        elif part == "sibling":
            self.post_message(self.SiblingWanted(entry.view.id, event.style.meta["step"]))

    def _entry_at(self, line: int) -> ShownMessage | Notice | None:
        position = self._column.position(line)
        return None if position is None else self._entries[position]

    # --- drawing

    def render_line(self, y: int) -> Strip:
        y += self.scroll_offset.y
        line = self._column.line(y)
        if line is None:
            return Strip.blank(self.scrollable_content_region.width, self.visual_style.rich_style)
        marked = self.has_focus and self._is_selected(y)
        known = self._drawn.get((y, marked))
        if known is not None and known[0] is line and self.text_selection is None:
            return known[1]
        strip = self._draw(line, y, marked=marked)
        if self.text_selection is None:
            self._drawn[(y, marked)] = (line, strip)
        return strip

    def _is_selected(self, y: int) -> bool:
        """Whether line `y` belongs to the selected message; the empty line under it does not."""
        entry = self._entry_at(y)
        return isinstance(entry, ShownMessage) and entry.view.id == self.selected and entry is self._entry_at(y + 1)

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
