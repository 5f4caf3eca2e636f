"""The messages of one conversation, of which only a window is mounted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from assistant.tui.widgets.message import MessageView


class Transcript(VerticalScroll, can_focus=True):
    """Messages from oldest to newest."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select_previous", "Previous message", show=False, id="transcript.previous"),
        Binding("down", "select_next", "Next message", show=False, id="transcript.next"),
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

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._views: list[MessageView] = []
        self.selected: int | None = None

    def show(self, messages: Sequence[MessageView]) -> None:
        """Show another conversation, from its end."""
        self._views = list(messages)
        self.remove_children()
        self.mount_all([Static(view.text, markup=False) for view in messages[-50:]])

    def add(self, view: MessageView) -> None:
        """Put a message at the end."""
        self._views.append(view)
        self.mount(Static(view.text, markup=False))

    def start_stream(self, view: MessageView) -> None:
        """Put a message at the end that will grow."""
        self.add(view)

    async def append(self, message_id: int, text: str) -> None:
        """Let the streamed message grow by `text`."""

    async def end_stream(self, view: MessageView) -> None:
        """The streamed message is finished: `view` is how it stays."""

    def update(self, view: MessageView) -> None:
        """Show a message anew."""

    def remove_from(self, message_id: int) -> None:
        """Take away this message and all after it."""

    def notice(self, text: str) -> None:
        """Put a quiet line at the end."""

    def view(self, message_id: int) -> MessageView:
        """The message as it is now, streamed text included."""
        return next(view for view in self._views if view.id == message_id)

    def answer(self, message_id: int) -> str:
        """The text of a message without its reasoning: what is copied."""
        return self.view(message_id).text

    def code_blocks(self, message_id: int) -> list[str]:
        """The code blocks of a message, first to last."""
        return []

    def toggle_reasoning(self, message_id: int) -> None:
        """Fold or unfold the reasoning of a message; nothing happens where there is none."""

    def select(self, message_id: int | None) -> None:
        """Select a message and scroll it into view."""
        self.selected = message_id
        self.post_message(self.MessageSelected(message_id))

    def select_last(self) -> None:
        """Select the newest message."""
        self.select(self._views[-1].id if self._views else None)

    def action_select_previous(self) -> None:
        self.select_last()

    def action_select_next(self) -> None:
        self.post_message(self.LeaveDown())
