"""Marked rows of the Log screen: the next key judges all of them, as one act that one key undoes."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual.screen import Screen

from assistant.store.judgements.curation_many import Change, Told
from assistant.tui.background import in_background
from assistant.tui.judging.judging import Judging
from assistant.tui.log.exchange_table import ExchangeTable
from assistant.tui.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.tui.judging.acts import Undone

SAID_AFTER_S = 1.0
"""Work on many replies says how far it has come when it takes longer than this."""


class Marking:
    """The marks of a screen with a table of exchanges. Methods that judge are False where nothing is marked."""

    def __init__(self, screen: Screen[tuple[int, int]], judging: Judging) -> None:
        self._screen = screen
        self._judging = judging
        self.ids: set[int] = set()
        """The marked replies."""

    def toggle(self, reply_id: int) -> None:
        """Mark a reply, or no longer."""
        self._set(self.ids ^ {reply_id})

    def toggle_all(self, reply_ids: "Callable[[Database], Iterable[int]]") -> None:
        """Mark all these too; where all of them are marked already, none any more."""

        async def toggle() -> None:
            those = set(await self._judging.worker.ask(reply_ids))
            self._set(set() if those <= self.ids else self.ids | those)

        in_background(self._screen, toggle, "marking", exclusive=True)

    def clear(self) -> None:
        if self.ids:
            self._set(set())

    def _set(self, ids: set[int]) -> None:
        table = self._screen.query_one(ExchangeTable)
        self.ids = table.marked = ids
        table.refresh()
        said = f"{len(ids):,} marked · + - k s t judge all" if ids else ""
        self._screen.query_one(StatusLine).state = said
        self._screen.refresh_bindings()

    # --- judging

    def judge(self, change: Change) -> bool:
        """Judge all marked replies alike; where all are judged so already, clear it."""
        from assistant.tui.judging import acts

        if self.ids:
            ids, said = sorted(self.ids), self._progress("judging")
            self._judging.act(lambda db: acts.judge_many(db, ids, change, said), judged=True)
        return bool(self.ids)

    def tag(self) -> bool:
        """Ask for a tag, and put it on all marked replies."""
        from assistant.store.judgements import curation, curation_many
        from assistant.tui.judging.dialogs import tag_dialog

        ids = sorted(self.ids)

        def chosen(name: str | None) -> None:
            if name is not None:
                self.judge(Change("tag", name))

        async def ask() -> None:
            read = self._judging.worker.ask
            tags = await read(lambda db: (curation_many.tags_of_all(db, ids), curation.all_tags(db)))
            self._screen.app.push_screen(tag_dialog(*tags), chosen)

        if ids:
            in_background(self._screen, ask, "marking", exclusive=True)
        return bool(ids)

    def undo(self, *, redo: bool = False) -> "Callable[[Database], Undone]":
        """What undoes the last judgement in the log's thread, of one reply or of many."""
        from assistant.tui.judging import acts

        return partial(acts.redo if redo else acts.undo, told=self._progress("redoing" if redo else "undoing"))

    def _progress(self, what: str) -> Told:
        """Says `judging 40,000 of 100,000 · 3 s left` once it has taken a second. Called in the log's thread."""
        from assistant.cli.output import duration

        began_s = time.monotonic()

        def told(done: int, total: int) -> None:
            took_s = time.monotonic() - began_s
            if took_s > SAID_AFTER_S and done < total:
                left = duration(took_s / done * (total - done))
                self._screen.post_message(Judging.Told(f"{what} {done:,} of {total:,} · {left} left"))

        return told
