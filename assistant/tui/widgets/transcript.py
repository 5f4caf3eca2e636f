"""The messages of one conversation.

One widget draws them all, line by line, and lays out only what is near the reader. A widget for each message, or for
each paragraph as in Textual's `Markdown`, would cost 1 ms each to mount and a layout of all of them for each token.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer

from assistant.tui.widgets.column_view import ColumnView
from assistant.tui.widgets.message import MessageView, Notice, ShownMessage

_SHORTEST_INTERVAL_S = 0.05
_BUSY_SHARE = 0.25
"""A reply that grows may take this share of the time: the interval between two updates follows the cost of the last."""
_LONG_CHARACTERS = 4_000
"""A reply longer than this is rendered in a thread when it ends: 10 ms and more on a slow machine."""


class Transcript(ColumnView[ShownMessage | Notice], can_focus=True):
    """Messages from oldest to newest. It follows a reply that grows as long as the reader is at the end."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select_previous", "Previous message", show=False, id="transcript.previous"),
        Binding("down", "select_next", "Next message", show=False, id="transcript.next"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="transcript.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="transcript.page_down"),
        Binding("home", "to_start", "First message", show=False, id="transcript.start"),
        Binding("end", "to_end", "Last message", show=False, id="transcript.end"),
        Binding("space", "unfold", "Unfold", show=False, id="transcript.unfold"),
    ]

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
        self._growing: ShownMessage | None = None
        self._flush_timer: Timer | None = None
        self._next_flush_s = 0.0

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

    def is_marked(self, line: int) -> bool:
        """Whether the line belongs to the selected message; the empty line under it does not."""
        entry = self._entry_at(line)
        selected = isinstance(entry, ShownMessage) and entry.view.id == self.selected
        return selected and self.has_focus and entry is self._entry_at(line + 1)

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

    def action_unfold(self) -> None:
        """Show all of the selected message where it is long; fold or unfold its reasoning."""
        if self.selected is None:
            return
        if self._message(self.selected).is_folded:
            self.unfold(self.selected)
        else:
            self.toggle_reasoning(self.selected)

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

    @property
    def _step(self) -> int:
        """Lines of a page, two less than the screen has so that the eye finds its place."""
        return max(1, self._view_height - 2)

    @property
    def _entries(self) -> list[ShownMessage | Notice]:
        return self._column.entries

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
