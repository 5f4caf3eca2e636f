"""The open path in the transcript, with the reply that grows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from assistant.tui.replies import Reply


class OpenPath:
    """The messages on the screen. Showing others touches only what differs."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.shown: list[MessageView] = []
        """Oldest first."""
        self._streaming: int | None = None
        self._left_out = 0
        """Messages that the reader was told are left out of the prompt."""

    def __contains__(self, message_id: int) -> bool:
        return any(view.id == message_id for view in self.shown)

    @property
    def target(self) -> MessageView | None:
        """The message that a key acts on: the selected one, or the last where none has the focus."""
        selected = self.transcript.selected if self.transcript.screen.focused is self.transcript else None
        return next((view for view in self.shown if view.id == selected), self.shown[-1] if self.shown else None)

    def forget(self) -> None:
        """Another conversation is opened: nothing acts on the messages of the old one while the new one is read."""
        self.shown = []

    def show(self, views: Sequence[MessageView], reply: "Reply | None") -> None:
        """Show what the log holds; of `reply`, which grows in this window, what has come."""
        growing = reply.message_id if reply is not None else None
        if reply is not None:  # the log is half a second behind
            views = [replace(view, text=reply.text) if view.id == growing else view for view in views]
        shown, self.shown = self.shown, list(views)
        kept = 0
        while kept < min(len(views), len(shown)) and views[kept].id == shown[kept].id:
            kept += 1
        if not kept:
            self._streaming, self._left_out = None, 0
            kept = len(views) - sum(view.id == growing for view in views)
            self.transcript.show(views[:kept])
        else:
            for old, new in zip(shown[:kept], views[:kept], strict=True):
                if new.id == growing:
                    self._stream(new)
                elif old != new:
                    self.transcript.update(new)
            if kept < len(shown):
                self.transcript.remove_from(shown[kept].id)
        for view in views[kept:]:
            if view.id == growing:
                self._stream(view)
            else:
                self.transcript.add(view)

    def _stream(self, view: MessageView) -> None:
        if view.id != self._streaming:
            self._streaming = view.id
            self.transcript.start_stream(view)

    def tell_left_out(self, messages: int) -> None:
        """Say once how many messages are left out of the prompt."""
        from assistant.tui.views import left_out

        if messages not in (0, self._left_out):
            self._left_out = messages
            self.transcript.notice(left_out(messages))

    async def end(self, view: MessageView | None) -> None:
        """Show how the reply that grew stays."""
        self._streaming = None
        if view is not None:
            await self.transcript.end_stream(view)
            self.shown = [view if one.id == view.id else one for one in self.shown]

    def select_place(self, place: int) -> None:
        """Select the message at that place where the selected one is gone."""
        if self.shown and self.transcript.selected is None:
            self.transcript.select(self.shown[min(place, len(self.shown) - 1)].id)
