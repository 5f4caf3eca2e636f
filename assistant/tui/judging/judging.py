"""Judge messages: rate, keep, tag, note, correct and teach them; undo that. The chat and the Log screen hold one."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message
from textual.widget import Widget

from assistant.errors import StoreError
from assistant.tui.background import in_background
from assistant.tui.log_worker import LogWorker

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.judgements.curation import Decision
    from assistant.tui.judging.acts import Undone

UNDOES = "z undoes"
NO_CORRECTION = "There is no correction here to learn. Press e to write one."


class Judging:
    """Acts on the messages whose ids it is given, and posts to `widget` what came of it."""

    @dataclass
    class Told(Message):
        """Something to say in one short line."""

        text: str

    @dataclass
    class Acted(Message):
        """The log has changed. `judged`: the message may be done with."""

        judged: bool

    @dataclass
    class Stepped(Message):
        """Something was undone or redone, maybe of another message, or of many."""

        undone: "Undone"

    class NothingToJudge(Message):
        """There is no message to act on."""

    @dataclass
    class TeachWanted(Message):
        """The reader wants to teach the corrections of these messages."""

        ids: Sequence[int]

    def __init__(self, widget: Widget, worker: Callable[[], LogWorker | None]) -> None:
        """`worker`: that of the log which the messages are in."""
        self._widget = widget
        self._worker = worker

    @property
    def worker(self) -> LogWorker:
        """That of the log which the messages are in. Raises `StoreError` while no log is open."""
        worker = self._worker()
        if worker is None:
            raise StoreError("The log is not open yet. Try again in a moment.")
        return worker

    def act(self, change: "Callable[[Database], str]", *, judged: bool = False) -> None:
        """Do something that can be undone, and tell what it says of it."""

        async def work(worker: LogWorker) -> None:
            told = await worker.act(change)
            self._widget.post_message(self.Told(f"{told} · {UNDOES}"))
            self._widget.post_message(self.Acted(judged))

        self._in_background(work)

    def _in_background(self, work: Callable[[LogWorker], Awaitable[None]]) -> None:
        in_background(self._widget, lambda: work(self.worker), "judging")

    def _found_nothing(self, ids: Sequence[int]) -> bool:
        if not ids:
            self._widget.post_message(self.NothingToJudge())
        return not ids

    # --- one key each; several messages are judged alike, as one act

    def rate(self, ids: Sequence[int], rating: int) -> None:
        """Rate one message good (1) or bad (-1); the same again clears it."""
        from assistant.tui.judging import acts

        if not self._found_nothing(ids):
            self.act(lambda db: acts.rate(db, ids[0], rating), judged=True)

    def decide(self, ids: Sequence[int], decision: "Decision") -> None:
        """Keep one message for training or skip it; the same again clears it."""
        from assistant.tui.judging import acts

        if not self._found_nothing(ids):
            self.act(lambda db: acts.decide(db, ids[0], decision), judged=True)

    def tag(self, ids: Sequence[int]) -> None:
        """Ask for a tag, and put it on one message, or take it off."""
        from assistant.store.judgements import curation
        from assistant.tui.judging import acts
        from assistant.tui.judging.dialogs import tag_dialog

        def chosen(name: str | None) -> None:
            if name is not None:
                self.act(lambda db: acts.tag(db, ids[0], name))

        async def ask(worker: LogWorker) -> None:
            tags = await worker.ask(lambda db: (curation.tags_of(db, ids[0]), curation.all_tags(db)))
            self._widget.app.push_screen(tag_dialog(*tags), chosen)

        if not self._found_nothing(ids):
            self._in_background(ask)

    def note(self, ids: Sequence[int]) -> None:
        """Let the reader write the note of one message."""
        from assistant.store.judgements import curation
        from assistant.tui.judging import acts
        from assistant.tui.judging.dialogs import note_dialog

        async def ask(worker: LogWorker) -> None:
            note = await worker.ask(lambda db: curation.judgement(db, ids[0]).note)

            def written(text: str | None) -> None:
                if text is not None and text != note:
                    self.act(lambda db: acts.note(db, ids[0], text))

            self._widget.app.push_screen(note_dialog(note), written)

        if not self._found_nothing(ids):
            self._in_background(ask)

    def correct(self, ids: Sequence[int]) -> None:
        """Let the reader write what one reply should have said."""
        from assistant.store import messages
        from assistant.tui.judging import acts
        from assistant.tui.judging.dialogs import correct_dialog

        def written(text: str | None) -> None:
            if text is not None:
                self.act(lambda db: acts.correct(db, ids[0], text), judged=True)

        async def ask(worker: LogWorker) -> None:
            reply = await worker.ask(lambda db: messages.get(db, ids[0]).content)
            self._widget.app.push_screen(correct_dialog(reply), written)

        if not self._found_nothing(ids):
            self._in_background(ask)

    def teach(self, ids: Sequence[int]) -> None:
        """Teach the corrections of these messages."""
        from assistant.tui.jobs.teaching import teachable

        async def ask(worker: LogWorker) -> None:
            corrected = await worker.ask(lambda db: teachable(db, ids))
            self._widget.post_message(self.TeachWanted(corrected) if corrected else self.Told(NO_CORRECTION))

        if not self._found_nothing(ids):
            self._in_background(ask)

    # --- and back

    def undo(self) -> None:
        """Undo the last judgement, of whatever message."""
        from assistant.tui.judging import acts

        self.step(acts.undo)

    def redo(self) -> None:
        """Redo what was undone last."""
        from assistant.tui.judging import acts

        self.step(acts.redo)

    def step(self, back: "Callable[[Database], Undone]") -> None:
        """Undo or redo with `back`."""

        async def work(worker: LogWorker) -> None:
            undone = await worker.act(back)
            self._widget.post_message(self.Told(undone.told))
            if undone.is_done:
                self._widget.post_message(self.Stepped(undone))

        self._in_background(work)
