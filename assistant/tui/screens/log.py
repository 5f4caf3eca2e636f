"""The log: find any exchange among a million, read it, and judge it without leaving the keyboard."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from sqlite_utils import Database
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label, Rule, Static
from textual.worker import Worker

from assistant.errors import AssistantError, StoreError
from assistant.safe_text import printable
from assistant.store import curation_queue, exchanges, filter_words
from assistant.store.database import changes_elsewhere
from assistant.store.filter import EVERYTHING, Sort
from assistant.store.messages import StoredMessage
from assistant.tui import keys, log_detail
from assistant.tui.clock import Now
from assistant.tui.log_detail import Detail
from assistant.tui.log_reader import LogReader
from assistant.tui.log_rows import COUNTED, LogRow, Rows, Wanted
from assistant.tui.screens.log_curation import CuratingScreen
from assistant.tui.screens.log_filter import FilterSuggester, names_in
from assistant.tui.screens.pick import Choice, PickScreen
from assistant.tui.widgets.exchange_detail import ExchangeDetail
from assistant.tui.widgets.exchange_table import ExchangeTable
from assistant.tui.widgets.status_line import StatusLine

T = TypeVar("T")
DETAIL_AFTER_S = 0.05
"""The detail of a row is read when the cursor has rested on it for so long."""

EMPTY_LOG = (
    "The log is empty. Leave with esc and say something, or take in what other programs kept:\n\n"
    "    assistant log import FILE"
)
ALL_JUDGED = "Every reply here is judged. q ends the queue; f chooses others."
SORTS: Mapping[Sort, str] = {
    "time": "when it was made",
    "conversation": "the conversation",
    "model": "",
    "adapter": "",
    "template": "",
    "rating": "good, unrated, bad",
    "decision": "keep, skip, undecided",
    "tags": "",
    "tokens": "tokens of the reply",
    "surprise": "how unlikely the model found its reply",
    "length": "characters of the reply",
}


class LogScreen(CuratingScreen[tuple[int, int]]):
    """The result is (conversation, message) to go to, or None. It keeps its place when it is shown again."""

    BINDINGS: ClassVar[list[BindingType]] = keys.LOG
    CSS_PATH = "log.tcss"
    AUTO_FOCUS = "ExchangeTable"

    def __init__(self, database: Path, *, now: Now) -> None:
        super().__init__()
        self._reader = LogReader(database)
        self._counter = LogReader(database)
        """Counts, which takes longer than a page, so that nothing else waits for it."""
        self._now = now
        self._wanted = Wanted()
        self._rows = Rows(self._wanted)
        self._total: int | None = None
        """Exchanges in the whole log."""
        self._seen = 0
        """The state of the log that the rows show."""
        self._left = False
        """The chat is shown."""
        self._growing = False
        """More rows are on their way."""
        self._detail: Detail | None = None
        self._beside = 0

    def compose(self) -> ComposeResult:
        with Horizontal(classes="line"):
            yield Label("search")
            yield Input(placeholder="/ words, or a part of one", id="search", select_on_focus=False)
            yield Static("", id="count")
        with Horizontal(classes="line"):
            yield Label("filter")
            names = FilterSuggester(lambda: self.ask(names_in))
            yield Input(placeholder="f for words such as unrated", id="filter", select_on_focus=False, suggester=names)
        yield Static("", id="hint", markup=False)
        yield ExchangeTable(now=self._now)
        yield Static("", id="empty", markup=False)
        yield Rule(id="edge")
        yield ExchangeDetail(id="detail")
        yield StatusLine()

    @property
    def table(self) -> ExchangeTable:
        return self.query_one(ExchangeTable)

    @property
    def detail(self) -> ExchangeDetail:
        return self.query_one(ExchangeDetail)

    # --- the log's thread

    async def ask(self, question: Callable[[Database], T]) -> T:
        return await self._reader.ask(question)

    async def _count(self, question: Callable[[Database], T]) -> T:
        return await self._counter.ask(question, only_reads=True)

    async def close(self) -> None:
        """Give the log back; the screen is not used after this."""
        await self._reader.close()
        await self._counter.close()

    def in_background(self, work: Callable[[], Awaitable[None]], group: str, *, exclusive: bool = True) -> None:
        async def told() -> None:
            try:
                await work()
            except AssistantError as error:
                self.notify(printable(str(error)), severity="error", markup=False, timeout=10)

        _: Worker[None] = self.run_worker(told, group=group, exclusive=exclusive)

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
            self.in_background(look, "look")

    def find(self, *, keep: LogRow | None = None) -> None:
        """Show what is wanted now; the cursor is on the first row, or stays on `keep` where that is near."""
        rows = Rows(self._wanted, self._total)
        self.in_background(lambda: self._find(rows, keep), "find")

    async def _find(self, rows: Rows, keep: LogRow | None) -> None:
        cursor = self.table.cursor
        first = await self._reader.ask(rows.begin, only_reads=True)
        wanted = rows.wanted
        self._rows, self._growing = rows, False
        if wanted.queue:
            self.table.show(first, sort="time", descending=False)
        else:
            self.table.show(first, sort=wanted.sort, descending=wanted.descending)
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
            return
        if self._total is None:
            plain = rows.wanted.filter_ == EVERYTHING and not rows.is_search and not rows.more
            self._total = rows.count if plain else await self._count(exchanges.count)
        if rows.is_search:
            count = await self._count(rows.hits)
        else:
            count = rows.count
        found = f"{count:,}+" if rows.more and count >= COUNTED else f"{count:,}"
        if not rows.complete:
            found = f"{rows.count:,} so far"
        self._show_figures(rows, f"{found} of {self._total:,}")

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

    def _emptiness(self) -> str:
        wanted = self._rows.wanted
        if wanted.queue:
            return ALL_JUDGED
        if wanted.search and self._rows.is_search:
            within = " within the filter. f changes the filter" if wanted.filter_ != EVERYTHING else ""
            searched = printable(wanted.search, newlines=False)
            return (
                f"Nothing found for “{searched}”{within}. Fewer or other words find more; OR between two is a choice."
            )
        if wanted.filter_ != EVERYTHING:
            return "Nothing passes the filter. f changes it; esc in it clears it."
        return EMPTY_LOG

    @on(ExchangeTable.PageWanted)
    def _bring(self, event: ExchangeTable.PageWanted) -> None:
        rows, number = self._rows, event.number

        async def bring() -> None:
            page = await self.ask(lambda db: rows.page(db, number))
            if rows is self._rows:
                self.table.put(number, page)

        self.in_background(bring, "pages", exclusive=False)

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

        self.in_background(further, "further")

    def _want(self, **changes: Any) -> None:
        wanted = replace(self._wanted, **changes)
        if wanted != self._wanted:
            self._wanted = wanted
            self.find()

    # --- search, filter, order

    @on(Input.Changed, "#search")
    def _search_changed(self, event: Input.Changed) -> None:
        self._want(search=event.value, queue=False)

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        try:
            filter_ = filter_words.parse(event.value, self._now())
        except StoreError as error:
            self._hint(str(error), problem=True)
        else:
            self._hint(self._filter_hint())
            self._want(filter_=filter_)

    def _filter_hint(self) -> str:
        return filter_words.EXAMPLE if self.query_one("#filter", Input).has_focus else ""

    def _hint(self, text: str, *, problem: bool = False) -> None:
        hint = self.query_one("#hint", Static)
        hint.update(printable(text, newlines=False))
        hint.set_class(problem, "-problem")

    def on_descendant_focus(self) -> None:
        if not self.query_one("#hint").has_class("-problem"):
            self._hint(self._filter_hint())

    @on(Input.Submitted)
    def _to_rows(self) -> None:
        self.table.focus()

    def on_key(self, event: events.Key) -> None:
        """Down leaves a line for the rows, escape empties it or leaves it."""
        if isinstance(line := self.focused, Input) and event.key in ("down", "escape"):
            event.stop()
            event.prevent_default()
            if event.key == "escape" and line.value:
                line.value = ""
            else:
                self.table.focus()

    def action_search(self) -> None:
        self.query_one("#search", Input).focus()

    def action_filter(self) -> None:
        self.query_one("#filter", Input).focus()

    @on(ExchangeTable.SortWanted)
    def _heading_clicked(self, event: ExchangeTable.SortWanted) -> None:
        self._sort_by(event.sort)

    def _sort_by(self, sort: Sort | None) -> None:
        """Sort by a column, the largest first; by the same one again: the other way round."""
        if sort is not None:
            self._want(sort=sort, descending=sort != self._wanted.sort or not self._wanted.descending, queue=False)

    def action_sort(self) -> None:
        choices = [Choice(sort, sort, about) for sort, about in SORTS.items()]
        heading = "Sort by (the same again: the other way round)"
        self.app.push_screen(PickScreen(heading, choices, current=self._wanted.sort), self._sort_by)  # type: ignore[arg-type]

    def action_reverse(self) -> None:
        self._want(descending=not self._wanted.descending, queue=False)

    # --- the queue

    def action_queue(self) -> None:
        """Bring what is most useful to judge, or end that."""
        if self._wanted.queue:
            self._want(queue=False)
            return
        search = self.query_one("#search", Input)
        with search.prevent(Input.Changed):
            search.value = ""
        self._want(queue=True, search="")
        self.table.focus()

    async def _go_on(self) -> None:
        """To the next reply of the conversation that nobody has judged, or to the next conversation."""
        row = self.table.row
        if row is None or row.reply_id is None:
            return
        here, judged = row.conversation_id, row.reply_id
        filter_ = self._rows.wanted.filter_
        left = await self.ask(lambda db: curation_queue.up_next(db, filter_, conversation_id=here))
        if not left or left[0].conversation_id != here:
            self.find()
            return
        ids = [one.message_id for one in left]
        if judged not in ids:
            goal = next((one for one in ids if one > judged), ids[0])
            if (number := self.table.number_of(goal)) is not None:
                self.table.go_to(number)
        await self._show_count(self._rows)

    # --- the row under the cursor

    @property
    def row(self) -> LogRow | None:
        return self.table.row

    @property
    def shown_detail(self) -> Detail | None:
        row, detail = self.table.row, self._detail  # which is a moment behind
        return detail if row is not None and detail is not None and detail.row.hit_id == row.hit_id else None

    @property
    def version_beside(self) -> StoredMessage | None:
        others = self.shown_detail.others if self.shown_detail else []
        return others[self._beside % len(others)] if others else None

    @on(ExchangeTable.Highlighted)
    def _highlighted(self, event: ExchangeTable.Highlighted) -> None:
        if event.row is not None:
            self._show_detail(event.row)
        self.refresh_bindings()

    def _show_detail(self, row: LogRow) -> None:
        async def show() -> None:
            if self._detail is not None:
                await asyncio.sleep(DETAIL_AFTER_S)
            detail = await self.ask(lambda db: log_detail.read(db, row))
            if self._detail is None or self._detail.row.hit_id != row.hit_id:
                self._beside = len(detail.others) - 1
            self._detail = detail
            self._draw_detail()
            self.refresh_bindings()

        self.in_background(show, "detail")

    def _draw_detail(self) -> None:
        if self._detail is not None:
            self.detail.show(log_detail.entries(self._detail, self._beside, self._now()))

    def action_version(self, step: int) -> None:
        """Show another version beside the reply."""
        if self._detail is not None and self._detail.others:
            self._beside = (self._beside + step) % len(self._detail.others)
            self._draw_detail()

    def action_page_detail(self) -> None:
        self.detail.page()

    @on(ExchangeTable.Opened)
    def _open(self, event: ExchangeTable.Opened) -> None:
        self._go((event.row.conversation_id, event.row.hit_id))

    def _go(self, to: tuple[int, int] | None) -> None:
        self._left = True
        self.dismiss(to)

    def action_leave(self) -> None:
        if self.focused is self.detail:
            self.table.focus()
        elif self._wanted.queue:
            self.action_queue()
        else:
            self._go(None)

    # --- judging it

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if action in ("leave", "search", "filter", "sort", "reverse"):
            return True
        if isinstance(self.focused, Input):
            return False
        if action in ("compare", "version"):
            return self.version_beside is not None
        return action in ("queue", "undo", "redo", "page_detail") or self.row is not None

    def tell(self, text: str) -> None:
        self.query_one(StatusLine).state = text

    async def show_acts(self, *, judged: bool = False, stepped: bool = False) -> None:
        held, rows = self.table.held, self._rows
        changed = await self.ask(lambda db: rows.refreshed(db, held))
        self.table.update(changed)
        if (row := self.table.row) is not None:
            self._show_detail(row)
        if judged and rows.wanted.queue:
            await self._go_on()
        elif stepped and rows.wanted.queue and not changed:  # it was in a conversation before
            self.find()
        elif rows.wanted.queue:
            await self._show_count(rows)
