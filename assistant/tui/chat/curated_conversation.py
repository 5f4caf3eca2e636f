"""What a person thinks of a message: rated, kept or skipped, tagged, noted and corrected where it is read."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from assistant.tui.chat.shown_conversation import ShownConversation
from assistant.tui.judging.curating import Curating
from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.tui.judging.acts import Undone

T = TypeVar("T")
JUDGING = ("rate", "decide", "tag", "note", "teach")
"""Leave the open path as it is, so that they work while a reply grows."""
CHANGING = ("correct", "undo", "redo")
"""May open another path."""


class CuratedConversation(Curating, ShownConversation):
    """A shown conversation whose messages can be judged. Every act can be undone, in whatever conversation it was."""

    def can_curate(self, action: str, view: MessageView) -> bool:
        """Whether an action of `JUDGING` or `CHANGING` makes sense for a message."""
        if action in ("tag", "note", "undo", "redo"):
            return True
        if action == "teach":
            return "correction" in view.marks
        return view.role == "assistant" and view.state != "growing"

    @property
    def judged_id(self) -> int | None:
        view = self.target
        return None if view is None else view.id

    def consult(self, question: "Callable[[Database], T]", then: Callable[[T], None], *, act: bool = False) -> None:  # noqa: ARG002
        if self.open_log is not None:
            then(question(self.open_log.db))

    def tell(self, text: str) -> None:
        self.screen.query_one(StatusLine).tell(text)

    def action_teach(self) -> None:
        if self.open_log is not None and self.open_log.private:
            self.tell("A private conversation isn't in the log, so that nothing of it can be learned.")
        else:
            super().action_teach()

    def show_act(self, *, judged: bool = False) -> None:  # noqa: ARG002
        """Show the messages as they are now; the selection keeps its place where another version came there."""
        in_transcript, target = self.screen.focused is self.transcript, self.target
        place = self.shown.index(target) if target is not None else 0
        self.refresh_messages()
        if in_transcript and self.shown and self.transcript.selected is None:
            self.transcript.select(self.shown[min(place, len(self.shown) - 1)].id)

    def show_undone(self, what: "Undone") -> None:
        self.show_act()
        if self.screen.focused is self.transcript and what.message_id in [view.id for view in self.shown]:
            self.transcript.select(what.message_id)
