"""The keys that judge, the same wherever a message can be judged: what they ask for, and what they tell."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from assistant.tui.told_errors import TellsErrors

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.curation import Decision
    from assistant.tui.judging.acts import Undone

T = TypeVar("T")
UNDOES = "z undoes"


class Curating(TellsErrors):
    """What has a message to judge, and a log that it is in."""

    @property
    def judged_id(self) -> int | None:
        """The message that is judged."""
        raise NotImplementedError

    def consult(self, question: "Callable[[Database], T]", then: Callable[[T], None], *, act: bool = False) -> None:
        """Ask the log, or with `act` change it, and go on with the answer. Acts follow each other in order."""
        raise NotImplementedError

    def tell(self, text: str) -> None:
        """Say something in one short line."""
        raise NotImplementedError

    def show_act(self, *, judged: bool = False) -> None:
        """Show what has changed in the log. `judged`: the message may be done with."""
        raise NotImplementedError

    def show_undone(self, what: "Undone") -> None:
        """Show what was undone or redone, maybe of another message than the one that is judged, or of many."""
        raise NotImplementedError

    def tell_why_not(self) -> None:
        """There is no message to judge."""

    # --- acts

    def act(self, done: "Callable[[Database], str]", *, judged: bool = False) -> None:
        """Do something that can be undone, and tell what it says of it."""

        def then(told: str) -> None:
            self.tell(f"{told} · {UNDOES}")
            self.show_act(judged=judged)

        self.consult(done, then, act=True)

    def _ask_about(self, question: "Callable[[Database, int], T]", then: Callable[[int, T], None]) -> None:
        """Read something of the message, and go on with it."""
        message_id = self.judged_id
        if message_id is None:
            self.tell_why_not()
        else:
            self.consult(lambda db: question(db, message_id), partial(then, message_id))

    def _judge(self, done: "Callable[[Database, int], str]") -> None:
        message_id = self.judged_id
        if message_id is None:
            self.tell_why_not()
        else:
            self.act(lambda db: done(db, message_id), judged=True)

    def action_rate(self, rating: int) -> None:
        from assistant.tui.judging import acts

        self._judge(lambda db, message_id: acts.rate(db, message_id, rating))

    def action_decide(self, decision: "Decision") -> None:
        from assistant.tui.judging import acts

        self._judge(lambda db, message_id: acts.decide(db, message_id, decision))

    def action_tag(self) -> None:
        from assistant.store import curation

        self._ask_about(lambda db, one: (curation.tags_of(db, one), curation.all_tags(db)), self._ask_tag)

    def _ask_tag(self, message_id: int, tags: tuple[list[str], dict[str, int]]) -> None:
        from assistant.tui.judging import acts
        from assistant.tui.judging.dialogs import TagDialog

        def chosen(name: str | None) -> None:
            if name is not None:
                self.act(lambda db: acts.tag(db, message_id, name))

        self.app.push_screen(TagDialog(*tags), chosen)

    def action_note(self) -> None:
        from assistant.store import curation

        self._ask_about(lambda db, one: curation.judgement(db, one).note, self._ask_note)

    def _ask_note(self, message_id: int, note: str) -> None:
        from assistant.tui.judging import acts
        from assistant.tui.judging.dialogs import NoteDialog

        def written(text: str | None) -> None:
            if text is not None and text != note:
                self.act(lambda db: acts.note(db, message_id, text))

        self.app.push_screen(NoteDialog(note), written)

    def action_correct(self) -> None:
        from assistant.store import messages

        self._ask_about(lambda db, one: messages.get(db, one).content, self._ask_correction)

    def _ask_correction(self, message_id: int, reply: str) -> None:
        from assistant.tui.judging import acts
        from assistant.tui.judging.dialogs import CorrectDialog

        def written(text: str | None) -> None:
            if text is not None:
                self.act(lambda db: acts.correct(db, message_id, text), judged=True)

        self.app.push_screen(CorrectDialog(reply), written)

    # --- learn it now

    @property
    def taught_ids(self) -> list[int]:
        """The messages whose corrections are taught."""
        return [] if self.judged_id is None else [self.judged_id]

    def action_teach(self) -> None:
        from assistant.tui.jobs.teaching import teachable
        from assistant.tui.judging.teach import TeachWanted

        def then(ids: list[int]) -> None:
            if ids:
                self.post_message(TeachWanted(ids))
            else:
                self.tell("There is no correction here to learn. Press e to write one.")

        if some := self.taught_ids:
            self.consult(lambda db: teachable(db, some), then)
        else:
            self.tell_why_not()

    # --- and back

    def action_undo(self) -> None:
        from assistant.tui.judging import acts

        self.consult(acts.undo, self._stepped, act=True)

    def action_redo(self) -> None:
        from assistant.tui.judging import acts

        self.consult(acts.redo, self._stepped, act=True)

    def _stepped(self, what: "Undone") -> None:
        self.tell(what.told)
        if what.is_done:
            self.show_undone(what)
