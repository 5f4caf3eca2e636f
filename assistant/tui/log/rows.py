"""The rows of the Log screen: what is searched for within a filter, in an order, fetched a page at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sqlite_utils import Database

from assistant.store.judgements import curation_queue
from assistant.store.search import exchanges, query, search
from assistant.store.search.exchanges import Exchange
from assistant.store.search.filter import EVERYTHING, Filter, Sort
from assistant.store.search.query import Fragment, Term
from assistant.store.search.search import Found, Hit
from assistant.tui.widgets.reasoning import split

PAGE_ROWS = 50
COUNTED = 10_000
"""Within a filter or a search, so many are counted; more show up when the reader comes there."""
SEARCH_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row: a reply with what it answers, or what a person said that has no reply. `hit_id` is where to jump."""

    hit_id: int
    conversation_id: int
    created_ms: int
    title: str
    prompt: tuple[Fragment, ...]
    reply: tuple[Fragment, ...]
    exchange: Exchange | None

    @property
    def reply_id(self) -> int | None:
        """The reply that is judged, None where there is none."""
        return None if self.exchange is None else self.exchange.message_id


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the reader wants to see."""

    search: str = ""
    meaning: bool = False
    """Also match by meaning, the nearest first."""
    queue: bool = False
    """Unjudged replies of the conversation that is up, in place of a search."""
    filter_: Filter = EVERYTHING
    sort: Sort = "time"
    descending: bool = True


@dataclass(slots=True)
class Rows:
    """What was found. To be used in one thread, the one that the database belongs to, but for `count` and `more`."""

    wanted: Wanted
    total: int | None = None
    """How many exchanges there are in all, where that is known: saves counting for each page."""
    here: int | None = None
    """The conversation that the queue brings first."""
    count: int = 0
    """Rows that can be fetched by their number."""
    more: bool = False
    """Whether there are more than `count`; `further` gets them."""
    complete: bool = True
    """False where a search ran out of time."""
    near: Callable[[Database, Wanted, int], Found] | None = None
    """Finds by meaning, once the vector of the search is here."""
    _found: list[LogRow] = field(default_factory=list)
    """All rows of a search so far."""
    _seen: set[int] = field(default_factory=set)
    _next_before: int | None = None
    _last: dict[int, Exchange] = field(default_factory=dict)
    """The last exchange of each page as it was fetched: the next page is found after it, whatever was judged since."""

    @property
    def is_list(self) -> bool:
        """Whether all rows are held here, as those of a search and of the queue are."""
        return self.wanted.queue or self.is_search

    @property
    def is_search(self) -> bool:
        return bool(query.terms(self.wanted.search))

    def begin(self, db: Database) -> list[LogRow]:
        """The first page, or all rows of the queue."""
        if self.wanted.queue:
            up_next = curation_queue.up_next(db, self.wanted.filter_, conversation_id=self.here)
            self._found = [row_of(exchange) for exchange in up_next]
            self.count = len(self._found)
            return self._found
        if self.is_search:
            self.further(db)
            return self._found[:PAGE_ROWS]
        rows = self.page(db, 0)
        self.count, self.more = len(rows), len(rows) == PAGE_ROWS
        return rows

    def count_all(self, db: Database) -> None:
        """Count what has no search: exactly without a filter, else up to `COUNTED`."""
        if self.is_list or not self.more:
            return
        if self.wanted.filter_ == EVERYTHING:
            self.count, self.more = self.total or exchanges.count(db), False
        else:
            self.count = exchanges.count(db, self.wanted.filter_, at_most=COUNTED)
            self.more = self.count == COUNTED

    def hits(self, db: Database) -> int:
        """How many messages are found, up to `COUNTED`."""
        return search.count(db, self.wanted.search, self.wanted.filter_, at_most=COUNTED)

    def page(self, db: Database, number: int) -> list[LogRow]:
        """The page of that number; fewer rows where some are gone."""
        first = number * PAGE_ROWS
        if self.is_list:
            return self._found[first : first + PAGE_ROWS]
        w, before = self.wanted, self._last.get(number - 1)
        found = exchanges.page(
            db,
            w.filter_,
            sort=w.sort,
            descending=w.descending,
            limit=PAGE_ROWS,
            offset=0 if before else first,
            after=before,
            total=self.total,
        )
        if len(found) == PAGE_ROWS:
            self._last[number] = found[-1]
        return [row_of(exchange) for exchange in found]

    def further(self, db: Database) -> None:
        """Find more rows than `count`, where there are some."""
        if not self.is_search:
            fetched = self.page(db, self.count // PAGE_ROWS)
            self.count = self.count // PAGE_ROWS * PAGE_ROWS + len(fetched)
            self.more = len(fetched) == PAGE_ROWS
            return
        w = self.wanted
        found = self.near(db, w, PAGE_ROWS) if self.near else self._by_words(db)
        terms = query.terms(w.search)
        for hit in found.hits:
            key = hit.exchange.message_id if hit.exchange else hit.message_id
            if key not in self._seen:  # the reply was found by itself, now what it answers is
                self._seen.add(key)
                self._found.append(row_of_hit(hit, terms))
        self._next_before, self.complete = found.next_before, found.complete
        self.count, self.more = len(self._found), found.next_before is not None

    def _by_words(self, db: Database) -> Found:
        w = self.wanted
        newest_first = w.sort == "time" and w.descending
        return search.search(
            db,
            w.search,
            w.filter_,
            sort=w.sort,
            descending=w.descending,
            limit=PAGE_ROWS if newest_first else search.SORTED_HITS,
            before=self._next_before,
            within_s=SEARCH_WITHIN_S,
        )

    def reply_ids(self, db: Database) -> list[int]:
        """The replies of all rows, also of those that are not fetched yet; by meaning of those found so far."""
        wanted = self.wanted
        if wanted.queue or self.near:
            return [row.reply_id for row in self._found if row.reply_id is not None]
        if self.is_search:
            return search.reply_ids(db, wanted.search, wanted.filter_)
        return exchanges.reply_ids(db, wanted.filter_)

    def refreshed(self, db: Database, rows: Sequence[LogRow]) -> list[LogRow] | None:
        """Those of `rows` that have changed, as the log has them now; None where one is gone."""
        held = {row.reply_id: row for row in rows if row.reply_id is not None}
        found = exchanges.by_ids(db, list(held))
        if len(found) < len(held):
            return None
        new = [replace(held[one.message_id], exchange=one) for one in found if held[one.message_id].exchange != one]
        changed = {row.hit_id: row for row in new}
        self._found = [changed.get(row.hit_id, row) for row in self._found]
        return new


def row_of(exchange: Exchange) -> LogRow:
    """An exchange as it is listed."""
    e = exchange
    prompt, reply = (((text, False),) for text in (e.prompt, split(e.reply).answer.strip() or e.reply))
    return LogRow(e.message_id, e.conversation_id, e.created_ms, e.title, prompt, reply, e)


def row_of_hit(hit: Hit, terms: list[Term]) -> LogRow:
    """A hit as it is listed: the text in which it is begins near it, and the hits are marked in both."""
    e = hit.exchange
    said = hit.role == "user"
    prompt = hit.snippet if said else tuple(query.snippet(e.prompt if e else "", terms))
    reply = tuple(query.snippet(e.reply if e else "", terms)) if said else hit.snippet
    created_ms = e.created_ms if e else hit.created_ms
    return LogRow(hit.message_id, hit.conversation_id, created_ms, hit.title, prompt, reply, e)
