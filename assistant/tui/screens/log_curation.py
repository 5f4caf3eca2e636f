"""Judging the row under the cursor: each act is stored, shown in the row, and told with the way back."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlite_utils import Database
from textual.screen import Screen

from assistant.store import curation, messages
from assistant.store.curation import Decision, Judgement
from assistant.store.messages import StoredMessage
from assistant.tui.log_detail import Detail
from assistant.tui.log_rows import LogRow
from assistant.tui.screens.curate_dialogs import CorrectDialog, NoteDialog, TagDialog
from assistant.tui.screens.pick import Choice, PickScreen
from assistant.tui.told_errors import TellsErrors

T = TypeVar("T")
R = TypeVar("R")
NO_REPLY = "There is no reply here to judge. Choose a row that has one."


class CuratingScreen(TellsErrors, Screen[T]):
    """A screen with a row to judge. The acts run in the log's thread, one after the other."""

    @property
    def row(self) -> LogRow | None:
        """The row that is judged."""
        raise NotImplementedError

    async def ask(self, question: Callable[[Database], Any]) -> Any:
        """Ask the log, in its thread."""
        raise NotImplementedError

    def in_background(self, work: Callable[[], Awaitable[None]], group: str, *, exclusive: bool = True) -> None:
        """Run `work`, in place of what goes on in an exclusive group; errors of ours are told."""
        raise NotImplementedError

    def tell(self, text: str) -> None:
        """Say something in one short line."""
        raise NotImplementedError

    async def show_acts(self, *, judged: bool = False, stepped: bool = False) -> None:
        """Show what has changed in the log. `judged`: the row may be done with. `stepped`: an act was undone or done
        again, maybe of another row."""
        raise NotImplementedError

    @property
    def shown_detail(self) -> Detail | None:
        """What the detail pane shows, and the version beside the reply."""
        raise NotImplementedError

    @property
    def version_beside(self) -> StoredMessage | None:
        raise NotImplementedError

    # --- acts

    def _judge(self, told: str, act: Callable[[Database, int], object], *, judged: bool = False) -> None:
        """Do `act` to the reply under the cursor, and say `told`."""
        row = self.row
        if row is None or row.reply_id is None:
            self.tell(NO_REPLY)
        else:
            self._act_on(row.reply_id, told, act, judged=judged)

    def _act_on(self, reply: int, told: str, act: Callable[[Database, int], object], *, judged: bool = False) -> None:
        self.in_background(lambda: self._done(told, lambda db: act(db, reply), judged=judged), "acts", exclusive=False)

    async def _done(self, told: str, act: Callable[[Database], object], *, judged: bool) -> None:
        await self.ask(act)
        self.tell(f"{told} · z undoes")
        await self.show_acts(judged=judged)

    def action_rate(self, rating: int) -> None:
        """Call the reply good or bad; a second time takes that back."""
        row = self.row
        again = row is not None and row.exchange is not None and row.exchange.rating == rating
        told = "rating taken back" if again else "good" if rating > 0 else "bad"
        self._judge(told, lambda db, reply: curation.rate(db, reply, 0 if again else rating), judged=not again)

    def action_decide(self, decision: Decision) -> None:
        self._judge(
            {"keep": "kept for training", "skip": "skipped in training"}.get(decision, decision),
            lambda db, reply: curation.decide(db, reply, decision),
            judged=decision != "undecided",
        )

    def action_correct(self) -> None:
        self._with_reply(messages.get, self._ask_correction)

    def action_note(self) -> None:
        self._with_reply(curation.judgement, self._ask_note)

    def action_tag(self) -> None:
        self._with_reply(lambda db, reply: (curation.tags_of(db, reply), curation.all_tags(db)), self._ask_tag)

    def _with_reply(self, read: Callable[[Database, int], R], then: Callable[[int, R], None]) -> None:
        """Read something of the reply under the cursor, and go on with it."""
        row = self.row
        if row is None or row.reply_id is None:
            self.tell(NO_REPLY)
            return
        reply = row.reply_id

        async def ask() -> None:
            then(reply, await self.ask(lambda db: read(db, reply)))

        self.in_background(ask, "dialog")

    def _ask_correction(self, reply: int, stored: StoredMessage) -> None:
        def written(text: str | None) -> None:
            if text is not None:
                self._act_on(reply, "corrected", lambda db, one: curation.correct(db, one, text), judged=True)

        self.app.push_screen(CorrectDialog(stored.content), written)

    def _ask_note(self, reply: int, judgement: Judgement) -> None:
        def written(text: str | None) -> None:
            if text is not None and text != judgement.note:
                told = "note kept" if text else "note taken away"
                self._act_on(reply, told, lambda db, one: curation.note(db, one, text))

        self.app.push_screen(NoteDialog(judgement.note), written)

    def _ask_tag(self, reply: int, tags: tuple[list[str], dict[str, int]]) -> None:
        def chosen(name: str | None) -> None:
            if name is None:
                return
            if name in tags[0]:
                self._act_on(reply, f"#{name} taken off", lambda db, one: curation.untag(db, one, name))
            else:
                self._act_on(reply, f"#{name} put on", lambda db, one: curation.tag(db, one, name))

        self.app.push_screen(TagDialog(*tags), chosen)

    # --- the better of two versions

    def action_compare(self) -> None:
        """Choose which of the two versions in the detail pane is the better."""
        detail, other = self.shown_detail, self.version_beside
        if detail is None or detail.reply is None or other is None:
            self.tell("There is one version only. Regenerate (r in the chat) or correct (e) makes another.")
            return
        this = detail.reply

        def chosen(better: str | None) -> None:
            if better is not None:
                first, second = (other.id, this.id) if better == "right" else (this.id, other.id)
                told = {"left": "the left one is better", "right": "the right one is better"}.get(better, "as good")
                tie = better == "tie"
                self._act_on(this.id, told, lambda db, _: curation.prefer(db, first, second, tie=tie))

        choices = [
            Choice("left", "The left one", " ".join(this.content[:200].split())),
            Choice("right", "The right one", " ".join(other.content[:200].split())),
            Choice("tie", "Both as good"),
        ]
        self.app.push_screen(PickScreen("Which is better?", choices), chosen)

    # --- back

    def action_undo(self) -> None:
        self.in_background(
            lambda: self._step(curation.undo, "undone", "There is nothing to undo."), "acts", exclusive=False
        )

    def action_redo(self) -> None:
        self.in_background(
            lambda: self._step(curation.redo, "again", "There is nothing to do again."), "acts", exclusive=False
        )

    async def _step(self, step: Callable[[Database], str], told: str, nothing: str) -> None:
        what = await self.ask(step)
        self.tell(f"{told}: {what}" if what else nothing)
        if what:
            await self.show_acts(stepped=True)
