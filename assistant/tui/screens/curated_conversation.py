"""What a person thinks of a message: rated, kept or skipped, tagged, noted and corrected where it is read."""

from functools import partial
from typing import TYPE_CHECKING

from assistant.tui.screens.shown_conversation import ShownConversation
from assistant.tui.widgets.message import MessageView

if TYPE_CHECKING:
    from assistant.store.curation import Decision

JUDGING = ("rate", "decide", "tag", "note")
"""Leave the open path as it is, so that they work while a reply grows."""
CHANGING = ("correct", "undo", "redo")
"""May open another path."""


class CuratedConversation(ShownConversation):
    """A shown conversation whose messages can be judged. Every act can be undone, in whatever conversation it was."""

    def can_curate(self, action: str, view: MessageView) -> bool:
        """Whether an action of `JUDGING` or `CHANGING` makes sense for a message."""
        if action in ("tag", "note", "undo", "redo"):
            return True
        return view.role == "assistant" and view.state != "growing"

    # --- rating, keeping

    def action_rate(self, rating: int) -> None:
        """Call the reply good (1) or bad (-1); the same again takes that back."""
        from assistant.store import curation

        view = self.target
        if self.open_log is not None and view is not None:
            before = curation.judgement(self.open_log.db, view.id).rating
            curation.rate(self.open_log.db, view.id, 0 if before == rating else rating)
            self.refresh_messages()

    def action_decide(self, decision: "Decision") -> None:
        """Keep the reply for training or skip it; the same again leaves it undecided."""
        from assistant.store import curation

        view = self.target
        if self.open_log is not None and view is not None:
            before = curation.judgement(self.open_log.db, view.id).decision
            curation.decide(self.open_log.db, view.id, "undecided" if before == decision else decision)
            self.refresh_messages()

    # --- what is asked for

    def action_tag(self) -> None:
        from assistant.store import curation
        from assistant.tui.screens.curate_dialogs import TagDialog

        view = self.target
        if self.open_log is not None and view is not None:
            db = self.open_log.db
            dialog = TagDialog(curation.tags_of(db, view.id), curation.all_tags(db))
            self.app.push_screen(dialog, partial(self._tagged, view.id))

    def _tagged(self, message_id: int, tag: str | None) -> None:
        from assistant.store import curation

        if self.open_log is not None and tag is not None:
            db = self.open_log.db
            change = curation.untag if tag in curation.tags_of(db, message_id) else curation.tag
            change(db, message_id, tag)
            self.refresh_messages()

    def action_note(self) -> None:
        from assistant.store import curation
        from assistant.tui.screens.curate_dialogs import NoteDialog

        view = self.target
        if self.open_log is not None and view is not None:
            dialog = NoteDialog(curation.judgement(self.open_log.db, view.id).note)
            self.app.push_screen(dialog, partial(self._noted, view.id))

    def _noted(self, message_id: int, text: str | None) -> None:
        from assistant.store import curation

        if self.open_log is not None and text is not None:
            curation.note(self.open_log.db, message_id, text)
            self.refresh_messages()

    def action_correct(self) -> None:
        from assistant.store import messages
        from assistant.tui.screens.curate_dialogs import CorrectDialog

        view = self.target
        if self.open_log is not None and view is not None:
            dialog = CorrectDialog(messages.get(self.open_log.db, view.id).content)
            self.app.push_screen(dialog, partial(self._corrected, view.id))

    def _corrected(self, message_id: int, text: str | None) -> None:
        from assistant.store import curation

        if self.open_log is not None and text is not None:
            correction = curation.correct(self.open_log.db, message_id, text)
            self.refresh_messages()
            self.transcript.select(correction)

    # --- and back

    def action_undo(self) -> None:
        """Undo the last judgement, whether of this conversation or of another, and say which."""
        from assistant.store import curation

        if self.open_log is not None:
            self._tell_step("Undone", curation.undo(self.open_log.db), "There is nothing to undo.")

    def action_redo(self) -> None:
        from assistant.store import curation

        if self.open_log is not None:
            self._tell_step("Done again", curation.redo(self.open_log.db), "There is nothing to do again.")

    def _tell_step(self, what: str, told: str, otherwise: str) -> None:
        self.notify(f"{what}: {told}." if told else otherwise, markup=False, timeout=3)
        self.refresh_messages()
        if self.transcript.has_focus and self.transcript.selected is None:
            self.transcript.select_last()
