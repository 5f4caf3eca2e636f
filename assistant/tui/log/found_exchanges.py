"""What the Log screen has found: rows, fetched a page at a time as they come into sight, and their number."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database
from textual import events, on
from textual.screen import Screen
from textual.widgets import Input, Static

from assistant.safe_text import printable
from assistant.store.database import changes_elsewhere, open_database
from assistant.store.judgements import curation_queue
from assistant.store.search import exchanges
from assistant.store.search.filter import EVERYTHING
from assistant.tui.background import in_background
from assistant.tui.log.exchange_table import ExchangeTable
from assistant.tui.log.meaning import Meaning
from assistant.tui.log.rows import COUNTED, LogRow, Rows, Wanted
from assistant.tui.log_worker import LogWorker

T = TypeVar("T")
MEANING_AFTER_S = 0.15
"""A search is asked for its meaning when nothing was typed for so long; its words are searched with every key."""
EMPTY_LOG = (
    "The log is empty. Leave with esc and say something, or import conversations of other programs:\n\n"
    "    assistant log import FILE"
)
ALL_JUDGED = "Every reply here is judged. q ends the queue; f changes the filter."


class FoundExchanges(Screen[tuple[int, int]]):
    """A screen with a table of exchanges. The log is asked in a thread, so that the screen never waits for it."""

    def __init__(self, database: Path, meaning: Meaning) -> None:
        super().__init__()
        self._meaning = meaning
        self._reader = LogWorker(partial(open_database, database))
        self._counter = LogWorker(partial(open_database, database))
        """Counts, which takes longer than a page, so that nothing else waits for it."""
        self._wanted = Wanted()
        self._rows = Rows(self._wanted)
        self._total: int | None = None
        """Exchanges in the whole log."""
        self._enough = ""
        """What the judged replies can show; said in the queue."""
        self._seen = 0
        """The state of the log that the rows show."""
        self._left = False
        """The chat is shown."""
        self._growing = False
        """More rows are on their way."""

    @property
    def table(self) -> ExchangeTable:
        return self.query_one(ExchangeTable)

    # --- the log's thread

    async def ask(self, question: Callable[[Database], T]) -> T:
        return await self._reader.ask(question)

    async def _count(self, question: Callable[[Database], T]) -> T:
        return await self._counter.ask(question)

    async def close(self) -> None:
        """Give the log back; the screen is not used after this."""
        await self._reader.act(self._meaning.close)
        await self._reader.close()
        await self._counter.close()

    # --- what is found

    def on_mount(self) -> None:
        self.find()

    @on(events.ScreenResume)
    def _look(self) -> None:
        """Show what was said or changed elsewhere since."""

        async def look() -> None:
            if await self.ask(changes_elsewhere) != self._seen:
                self._total = None
                self.find(keep=self.table.row)

        if self._left:  # not where a dialog was answered
            self._left = False
            in_background(self, look, "look", exclusive=True)

    def _want(self, **changes: Any) -> None:
        wanted = replace(self._wanted, **changes)
        if wanted != self._wanted:
            if self._wanted.queue and not wanted.queue:
                self._hint("")
            self._wanted = wanted
            self.find()

    def find(self, *, keep: LogRow | None = None, here: int | None = None) -> None:
        """Show what is wanted now; the cursor is on the first row, or stays on `keep` where that is near.

        `here` is the conversation that the queue brings first, where it has something to judge.
        """
        rows = Rows(self._wanted, self._total, here)

        async def find() -> None:
            await self._find(rows, keep)
            if rows.wanted.meaning and rows.is_search:
                await self._find(await self._nearer(rows), keep)

        in_background(self, find, "find", exclusive=True)

    async def _nearer(self, rows: Rows) -> Rows:
        """The same search by meaning too, when the reader has stopped typing."""
        await asyncio.sleep(MEANING_AFTER_S)
        wanted = rows.wanted
        vector = await self._meaning.vector(wanted.search)
        share = await self.ask(self._meaning.share)
        self._hint(f"About {share:.0%} of the log is indexed by meaning so far." if share < 1 else "")
        return replace(
            Rows(wanted, rows.total),
            near=lambda db, w, limit: self._meaning.near(db, w.search, vector, w.filter_, limit),
        )

    async def _find(self, rows: Rows, keep: LogRow | None) -> None:
        cursor = self.table.cursor
        first = await self._reader.ask(rows.begin)
        wanted = rows.wanted
        self._rows, self._growing = rows, False
        if wanted.queue:
            self.table.show(first, sort="time", descending=False)
        else:
            self.table.show(first, sort=None if rows.near else wanted.sort, descending=wanted.descending)
        self.table.grow(rows.count, more=rows.more)
        self._show_emptiness()
        await self._count(rows.count_all)
        self.table.grow(rows.count, more=rows.more)
        if keep is not None:
            self.table.go_to(next((i for i, row in enumerate(first) if row.hit_id == keep.hit_id), cursor))
        await self._show_count(rows)
        self._seen = await self.ask(changes_elsewhere)

    async def _show_count(self, rows: Rows) -> None:
        """`1,204 of 98,310`; the progress of the queue."""
        if rows.wanted.queue:
            progress = await self._count(lambda db: curation_queue.progress(db, rows.wanted.filter_))
            self._show_figures(rows, f"queue · {progress.done:,} of {progress.total:,} judged")
            await self._show_enough(rows)
            return
        if self._total is None:
            plain = rows.wanted.filter_ == EVERYTHING and not rows.is_search and not rows.more
            self._total = rows.count if plain else await self._count(exchanges.count)
        count = await self._count(rows.hits) if rows.is_search and rows.more else rows.count
        found = f"{count:,}+" if rows.more and count >= COUNTED else f"{count:,}{' nearest' if rows.near else ''}"
        if not rows.complete:
            found = f"{rows.count:,} so far"
        self._show_figures(rows, f"{found} of {self._total:,}")

    async def _show_enough(self, rows: Rows) -> None:
        """Say what the judged replies can show."""
        from finetune.prove import enough

        self._enough = await self._count(enough.sentence)
        if rows is self._rows and not isinstance(self.focused, Input):
            self._hint(self._enough)

    def _show_figures(self, rows: Rows, text: str) -> None:
        if rows is self._rows:
            self.query_one("#count", Static).update(text)

    def _show_emptiness(self) -> None:
        """Say what to do where there is no row."""
        rows = self._rows
        empty = rows.count == 0
        if empty:
            self.query_one("#empty", Static).update(self._emptiness())
        if empty and not isinstance(self.focused, Input):  # the rows are about to be hidden
            self.set_focus(None if rows.wanted.queue else self.query_one("#search", Input))
        self.set_class(empty, "-empty")
        if not empty and self.focused is None:
            self.table.focus()

    def _hint(self, text: str, *, problem: bool = False) -> None:
        """A line under the filter."""
        hint = self.query_one("#hint", Static)
        hint.update(printable(text, newlines=False))
        hint.set_class(problem, "-problem")

    def _emptiness(self) -> str:
        wanted = self._rows.wanted
        if wanted.queue:
            return ALL_JUDGED
        if wanted.search and self._rows.is_search:
            within = " within the filter. f changes the filter" if wanted.filter_ != EVERYTHING else ""
            searched = printable(wanted.search, newlines=False)
            return f"Nothing found for “{searched}”{within}. Try fewer or other words, or use OR between words."
        if wanted.filter_ != EVERYTHING:
            return "No reply matches the filter. Press f to change it."
        return EMPTY_LOG

    @on(ExchangeTable.PageWanted)
    def _bring(self, event: ExchangeTable.PageWanted) -> None:
        rows, number = self._rows, event.number

        async def bring() -> None:
            page = await self.ask(lambda db: rows.page(db, number))
            if rows is self._rows:
                self.table.put(number, page)

        in_background(self, bring, "pages")

    @on(ExchangeTable.FurtherWanted)
    def _further(self) -> None:
        rows = self._rows
        if self._growing or not rows.more:
            return
        self._growing = True

        async def further() -> None:
            try:
                await self.ask(rows.further)
            finally:
                self._growing = False
            if rows is self._rows:
                self.table.grow(rows.count, more=rows.more)

        in_background(self, further, "further", exclusive=True)
