"""The log: find any exchange among a million, read it, and judge it without leaving the keyboard."""

import asyncio
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Rule, Static

from assistant.errors import ModelError, StoreError
from assistant.store.judgements import curation_queue
from assistant.store.judgements.curation import Decision
from assistant.store.judgements.curation_many import Change
from assistant.store.messages import StoredMessage
from assistant.store.search import filter_words
from assistant.store.search.filter import Sort
from assistant.tui import keys
from assistant.tui.background import in_background
from assistant.tui.dialogs.pick import Choice, PickScreen
from assistant.tui.judging.comparing import compare_blind
from assistant.tui.judging.judging import Judging
from assistant.tui.log import detail as log_detail
from assistant.tui.log.detail import Detail
from assistant.tui.log.exchange_detail import DetailEntry
from assistant.tui.log.exchange_table import ExchangeTable
from assistant.tui.log.filter_line import SORTS, FilterSuggester, names_in
from assistant.tui.log.found_exchanges import FoundExchanges
from assistant.tui.log.marking import Marking
from assistant.tui.log.meaning import Meaning
from assistant.tui.log.rows import LogRow
from assistant.tui.widgets.page import Page
from assistant.tui.widgets.status_line import StatusLine
from assistant.tui.window import Window

DETAIL_AFTER_S = 0.05
"""The detail of a row is read when the cursor has rested on it for so long."""


class LogScreen(FoundExchanges):
    """The result is (conversation, message) to go to, or None. It keeps its place when it is shown again."""

    BINDINGS: ClassVar[list[BindingType]] = keys.LOG
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "ExchangeTable"

    class TokensWanted(Message):
        """The reader wants to see the tokens of a reply."""

        def __init__(self, message_id: int) -> None:
            super().__init__()
            self.message_id = message_id

    class TrainWanted(Message):
        """The reader wants to train on what is shown."""

    def __init__(self, database: Path, meaning: Meaning, window: Window) -> None:
        super().__init__(database, meaning)
        self._window = window
        self._now = window.now
        self._detail: Detail | None = None
        self._beside = 0
        self.judging = Judging(self, lambda: self._reader)
        self.marking = Marking(self, self.judging)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="line"):
            yield Label("search", id="kind")
            yield Input(placeholder="/ words or parts of words · m also by meaning", id="search", select_on_focus=False)
            yield Static("", id="count")
        with Horizontal(classes="line"):
            yield Label("filter")
            names = FilterSuggester(lambda: self.ask(names_in))
            yield Input(
                placeholder="f for words such as unrated · q for the queue · space marks rows",
                id="filter",
                select_on_focus=False,
                suggester=names,
            )
        yield Static("", id="hint", markup=False)
        yield ExchangeTable(now=self._now)
        yield Static("", id="empty", markup=False)
        yield Rule(id="edge")
        yield Page(id="detail")
        yield StatusLine()

    @property
    def detail(self) -> Page[DetailEntry]:
        return self.query_one("#detail", Page)

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
            self._hint(self._usual_hint())
            self._want(filter_=filter_)

    def _usual_hint(self) -> str:
        if self.query_one("#filter", Input).has_focus:
            return filter_words.EXAMPLE
        return self._enough if self._wanted.queue else ""

    def on_descendant_focus(self) -> None:
        if not self.query_one("#hint").has_class("-problem"):
            self._hint(self._usual_hint())

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
        self.set_focus(self.query_one("#search", Input))  # at once: the next key is the first letter

    def action_meaning(self) -> None:
        """Also match by meaning, or by words alone."""
        wanted = not self._wanted.meaning
        if wanted:
            try:
                self._meaning.check()
            except ModelError as error:
                self._hint(str(error), problem=True)
                return
        self._hint("")
        self.query_one("#kind", Label).update("meaning" if wanted else "search")
        self._want(meaning=wanted, queue=False)
        self.query_one("#search", Input).focus()

    def action_tokens(self) -> None:
        if self.judged_id is not None:
            self.post_message(self.TokensWanted(self.judged_id))

    def action_train(self) -> None:
        self.post_message(self.TrainWanted())

    def action_filter(self) -> None:
        self.set_focus(self.query_one("#filter", Input))

    @on(ExchangeTable.SortWanted)
    def _heading_clicked(self, event: ExchangeTable.SortWanted) -> None:
        self._sort_by(event.sort)

    def _sort_by(self, sort: Sort | None) -> None:
        """Sort by a column, the largest first; by the same one again: the other way round."""
        if sort is not None:
            self._want(sort=sort, descending=sort != self._wanted.sort or not self._wanted.descending, queue=False)

    def action_sort(self) -> None:
        choices = [Choice(sort, sort, about) for sort, about in SORTS.items()]
        heading = "Sort by (choose again to reverse)"
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

        in_background(self, show, "detail", exclusive=True)

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

    # --- marked rows

    def action_mark(self) -> None:
        """Mark the row, or no longer, and go on to the next."""
        if self.judged_id is None:
            self.post_message(Judging.NothingToJudge())
        else:
            self.marking.toggle(self.judged_id)
            self.table.action_move(1)

    def action_unmark(self) -> None:
        self.marking.clear()

    def action_mark_all(self) -> None:
        """Mark all that the search and the filter leave, or nothing any more."""
        self.marking.toggle_all(self._rows.reply_ids)

    def _want(self, **changes: Any) -> None:
        if not changes.keys() <= {"sort", "descending"}:
            self.marking.clear()  # rows that are no longer shown must not be judged
        super()._want(**changes)
        self._window.shown_filter = self.query_one("#filter", Input).value.strip(), self._wanted.filter_

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
        if action == "unmark":
            return bool(self.marking.ids) and not isinstance(self.focused, Input)
        if action in ("leave", "search", "meaning", "filter", "sort", "reverse", "train"):
            return True
        if isinstance(self.focused, Input):
            return False
        if action in ("compare", "version"):
            return self.version_beside is not None
        if action == "mark":
            return self.table.row is not None and self.focused is not self.detail
        if action == "mark_all":
            return self.table.count > 0
        return action in ("queue", "undo", "redo", "page_detail") or self.table.row is not None

    @property
    def judged_id(self) -> int | None:
        row = self.table.row
        return None if row is None else row.reply_id

    def _judged(self) -> list[int]:
        return [] if self.judged_id is None else [self.judged_id]

    def action_rate(self, rating: int) -> None:
        if not self.marking.judge(Change("rating", rating)):
            self.judging.rate(self._judged(), rating)

    def action_decide(self, decision: Decision) -> None:
        if not self.marking.judge(Change("decision", decision)):
            self.judging.decide(self._judged(), decision)

    def action_tag(self) -> None:
        if not self.marking.tag():
            self.judging.tag(self._judged())

    def action_note(self) -> None:
        self.judging.note(self._judged())

    def action_correct(self) -> None:
        self.judging.correct(self._judged())

    def action_teach(self) -> None:
        self.judging.teach(sorted(self.marking.ids) or self._judged())

    def action_undo(self) -> None:
        self.judging.step(self.marking.undo())

    def action_redo(self) -> None:
        self.judging.step(self.marking.undo(redo=True))

    @on(Judging.Told)
    def _tell(self, event: Judging.Told) -> None:
        self.query_one(StatusLine).tell(event.text)

    @on(Judging.NothingToJudge)
    def _tell_why_not(self) -> None:
        self.query_one(StatusLine).tell("This row has no reply to judge. Choose another row.")

    @on(Judging.Acted)
    def _acted(self, event: Judging.Acted) -> None:
        async def show() -> None:
            if await self._show_changes() and event.judged and self._rows.wanted.queue:
                self.marking.clear()
                await self._go_on()

        in_background(self, show, "shown acts")

    @on(Judging.Stepped)
    def _stepped(self, event: Judging.Stepped) -> None:
        """Go to the row, where it is one of those that are held; the queue brings its conversation."""
        undone = event.undone

        async def show() -> None:
            if not await self._show_changes() or undone.message_id is None:
                return
            if (number := self.table.number_of(undone.message_id)) is not None:
                self.table.go_to(number)
            elif self._rows.wanted.queue:
                self.find(here=undone.conversation_id)

        in_background(self, show, "shown acts")

    async def _show_changes(self) -> bool:
        """Whether the rows are the same but for their judgements; else they are being searched again."""
        held, rows = self.table.held, self._rows
        changed = await self.ask(lambda db: rows.refreshed(db, held))
        if changed is None:  # a correction was taken back
            self._total = None
            self.find(keep=self.table.row)
            return False
        self.table.update(changed)
        if (row := self.table.row) is not None:
            self._show_detail(row)
        if rows.wanted.queue:
            await self._show_count(rows)
        return True

    def action_compare(self) -> None:
        """Compare the reply with the version beside it, blind."""
        other, reply = self.version_beside, self.judged_id
        if other is not None and reply is not None:
            in_background(self, lambda: compare_blind(self, self.judging, reply, other.id))


# --- the room


def screen(window: Window) -> LogScreen:
    """The log, with search by meaning."""
    logs = window.logs
    meaning = Meaning(logs.client, window.paths, window.settings.meaning_model)
    return LogScreen(window.paths.database, meaning, window)


def left(window: Window, chosen: tuple[int, int] | None) -> None:
    """Go to the exchange that was chosen."""
    if chosen is not None:
        window.chat.open_at(*chosen)
