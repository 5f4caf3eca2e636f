"""The versions of a message and the branches that they begin: stepped through, compared, forked."""

from dataclasses import dataclass

from textual import on
from textual.message import Message

from assistant.tui.chat.curated_conversation import CuratedConversation
from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.transcript import Transcript

BRANCHING = ("sibling", "compare", "compare_makers", "fork")


class BranchedConversation(CuratedConversation):
    """A shown conversation of which another path can be opened."""

    class Changed(Message):
        """Its title, its figures or its state may be others now."""

    @dataclass
    class MakersWanted(Message):
        """Two new replies in place of `message_id` are to be made and compared."""

        message_id: int

    @dataclass
    class Forked(Message):
        """A conversation was forked from this one."""

        conversation_id: int

    def can_branch(self, action: str, view: MessageView) -> bool:
        """Whether an action of `BRANCHING` makes sense for a message."""
        match action:
            case "sibling":
                return view.siblings > 1
            case "compare":
                return view.role == "assistant" and view.siblings > 1
            case "compare_makers":
                return view.role == "assistant"
            case _:
                return True

    def action_sibling(self, step: int) -> None:
        view = self.target
        if view is not None:
            self._open_sibling(view.id, step)

    @on(Transcript.SiblingWanted)
    def _sibling_clicked(self, event: Transcript.SiblingWanted) -> None:
        self._open_sibling(event.message_id, event.step)

    def _open_sibling(self, message_id: int, step: int) -> None:
        """Open the branch of the version before or after a message."""
        from assistant.store import messages

        if self.open_log is None or self.conversation_id is None or self.reply is not None:
            return
        db = self.open_log.db
        versions = messages.siblings(db, message_id)
        at = versions.index(message_id) + step
        if not 0 <= at < len(versions):
            return
        self.open_branch(versions[at])
        if self.transcript.has_focus:
            self.transcript.select(versions[at])
        self.post_message(self.Changed())

    def open_path(self, message_id: int) -> None:
        """Open the path through a message, as far as it went last, and select the message."""

        if self.open_log is None or self.conversation_id is None:
            return
        if message_id not in [view.id for view in self.shown]:
            self.open_branch(message_id)
        self.transcript.focus()
        self.transcript.select(message_id)
        self.post_message(self.Changed())

    def open_branch(self, message_id: int) -> None:
        """Open the newest path through a message; it goes on with what made its last reply."""
        from assistant.store import messages

        if self.open_log is not None and self.conversation_id is not None:
            self.open_leaf(messages.newest_leaf(self.open_log.db, message_id))
            self.open_log.follow_branch(self.conversation_id)

    def open_leaf(self, leaf_id: int) -> None:
        """Open the path that ends with that message."""
        from assistant.store import messages

        if self.open_log is not None and self.conversation_id is not None:
            messages.open_leaf(self.open_log.db, self.conversation_id, leaf_id)
            self.refresh_messages()

    def action_fork(self) -> None:
        """A new conversation that holds what led to the selected message."""
        from assistant.store import forking

        view = self.target
        if self.open_log is not None and view is not None:
            self.post_message(self.Forked(forking.fork(self.open_log.db, view.id)))

    def action_compare(self) -> None:
        from assistant.tui.judging.comparing import compare_versions

        view = self.target
        if view is not None:
            compare_versions(self, view.id)

    def action_compare_makers(self) -> None:
        view = self.target
        if view is not None:
            self.post_message(self.MakersWanted(view.id))
