"""Full-text search of the log: newest first, within the filters of the list of exchanges, in bounded time.

The index gives messages in the order of their ids without ranking all that match, so a word that is in every message
costs no more than a rare one. What a person said is found too: it stands for the newest reply to it that passes.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.database import changes_elsewhere, path_of, select
from assistant.store.search import exchanges, query
from assistant.store.search.exchanges import Condition, Exchange
from assistant.store.search.filter import EVERYTHING, Filter, Sort
from assistant.store.search.query import Fragment, Term
from assistant.store.sqlite_errors import explained, primary_code

SORTED_HITS = 1_000
"""Sorted by anything but time, a search sorts its newest hits, so many of them."""


LOOKED_UP = 300
"""So many of the newest matches are looked up one by one, whatever the filter: 1 ms, or 20 from a cold disk."""

LOOKED_UP_AT_MOST, ONE_IN = 3_000, 50
"""So many, while one in fifty passes: a page is full before a list is made."""

LISTED = 60_000
"""Up to so many replies are listed where a filter lets too few of the newest matches through: 15 ms to make."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that holds what was searched for. Of a message without a reply that passes, `exchange` is None."""

    message_id: int
    conversation_id: int
    created_ms: int
    role: str
    title: str
    snippet: tuple[Fragment, ...]
    exchange: Exchange | None
    similarity: float | None = None
    """How near its meaning is, 1 being the same; None where it was found by its words."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of hits. `next_before` begins the next one; None at the end. `complete` is False where time ran out."""

    hits: list[Hit]
    next_before: int | None
    complete: bool = True


def search(
    db: Database,
    typed: str,
    filter_: Filter = EVERYTHING,
    *,
    sort: Sort = "time",
    descending: bool = True,
    limit: int = 50,
    before: int | None = None,
    within_s: float | None = None,
    as_typed: bool = True,
) -> Found:
    """Up to `limit` exchanges in which `typed` occurs (how, `query` tells), the newest first, from message `before` on.

    Sorted by something else, or oldest first, these are the first of the newest `SORTED_HITS`, and there is no next
    page. After `within_s` seconds it answers with what it has. Where `typed` has no word, nothing is found.
    """
    terms = query.terms(typed, as_typed=as_typed)
    if not terms:
        return Found([], None)
    newest_first = sort == "time" and descending
    wanted = limit if newest_first else SORTED_HITS
    found: dict[int, tuple[int, int | None]] = {}  # reply, or message without one -> the hit and its reply
    last: int | None = None
    full = False
    with _deadline(db, within_s) as stopped:
        for message_id, reply_id in _matches(db, query.match_expression(terms), filter_, before, stopped):
            if full := len(found) == wanted:
                break
            found.setdefault(reply_id or message_id, (message_id, reply_id))
            last = message_id
    hits = told(db, list(found.values()), terms)
    if not newest_first:
        return Found(_sorted(hits, sort, descending)[:limit], None, not stopped)
    return Found(hits, last if full or stopped else None, not stopped)


def all_replies(db: Database, typed: str, filter_: Filter = EVERYTHING) -> dict[int, list[int]]:
    """Conversation -> the replies in it that hold `typed`, or whose prompts do, and pass."""
    found: dict[int, list[int]] = {}
    before: int | None = None
    while True:
        page = search(db, typed, filter_, limit=SORTED_HITS, before=before, as_typed=False)
        for one in (hit.exchange for hit in page.hits):
            if one is not None:
                found.setdefault(one.conversation_id, []).append(one.message_id)
        if page.next_before is None:
            return found
        before = page.next_before


def reply_ids(db: Database, typed: str, filter_: Filter = EVERYTHING) -> list[int]:
    """The ids of all replies that `search` finds, in no order."""
    if not (terms := query.terms(typed, as_typed=True)):
        return []
    sql, values = _listed(db, query.match_expression(terms), exchanges.conditions(filter_), filter_, None)
    return list({reply for _, reply in select(db, sql, values) if reply is not None})


def count(
    db: Database, typed: str, filter_: Filter = EVERYTHING, *, at_most: int = 10_000, as_typed: bool = True
) -> int:
    """How many messages hold `typed` and pass; counting stops at `at_most`."""
    terms = query.terms(typed, as_typed=as_typed)
    if not terms:
        return 0
    held = exchanges.conditions(filter_)
    sql, values = _listed(db, query.match_expression(terms), held, filter_, None)
    return int(select(db, f"SELECT count(*) FROM ({sql} LIMIT ?)", (*values, at_most))[0][0])


@contextmanager
def _deadline(db: Database, within_s: float | None) -> Iterator[list[bool]]:
    """Let SQLite give up `within_s` from now. The list is no longer empty when it has."""
    stopped: list[bool] = []
    if within_s is not None:
        until = time.monotonic() + within_s
        db.conn.set_progress_handler(lambda: time.monotonic() > until, 5_000)
    try:
        yield stopped
    finally:
        db.conn.set_progress_handler(None, 0)


def _matches(
    db: Database, match: str, filter_: Filter, before: int | None, stopped: list[bool]
) -> Iterator[tuple[int, int | None]]:
    """Each message that matches and passes, newest first, with the reply that it stands for; until the time is up.

    Where few match, or many of those pass, the newest ones looked up are enough. The rest is held against a list.
    """
    held = exchanges.conditions(filter_)
    if held:
        tried = passed = 0
        newest = _rows(db, *_looked_up(match, held, before), stopped)
        for tried, (message_id, reply_id) in enumerate(newest, 1):
            before = message_id
            if reply_id is not None:
                passed += 1
                yield message_id, reply_id
            if tried >= LOOKED_UP and passed * ONE_IN < tried:
                break
        else:
            if tried < LOOKED_UP_AT_MOST:
                return
        if stopped:
            return
    try:
        rest = _listed(db, match, held, filter_, before)
    except (sqlite3.OperationalError, StoreError) as error:  # the time is up already
        if not _is_interrupt(error):
            raise
        stopped.append(True)
        return
    yield from _rows(db, *rest, stopped)


def _is_interrupt(error: BaseException) -> bool:
    cause = error if isinstance(error, sqlite3.Error) else error.__cause__
    return isinstance(cause, sqlite3.Error) and primary_code(cause) == sqlite3.SQLITE_INTERRUPT


def _rows(db: Database, sql: str, values: tuple[Any, ...], stopped: list[bool]) -> Iterator[tuple[int, int | None]]:
    """The rows of a query, until the time is up."""
    with explained(path_of(db)):
        try:
            with closing(db.conn.execute(sql, values)) as rows:  # its first step is taken at once
                yield from rows
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            stopped.append(True)


_ANSWERS = "message_id IN (SELECT id FROM messages INDEXED BY messages_parent WHERE parent_id = w.rowid)"

_REPLY = (
    "coalesce((SELECT message_id FROM exchanges WHERE message_id = w.rowid AND {passes}), "
    f"(SELECT max(message_id) FROM exchanges WHERE {_ANSWERS} AND {{passes}}))"
)
"""The reply that a message stands for: itself, or the newest answer to it that passes."""

_SHOWN = (
    "EXISTS (SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id "
    "WHERE m.id = w.rowid AND m.role = 'user' AND c.deleted_ms IS NULL)"
)

Query = tuple[str, tuple[Any, ...]]
"""SQL that gives (message, reply), newest first, and its values."""


def _looked_up(match: str, held: Sequence[Condition], before: int | None) -> Query:
    """The newest matches, each with its reply or, where that doesn't pass, None."""
    reply, values = _reply(held)
    place, place_values = _before(before)
    sql = (
        f"SELECT w.rowid, {reply} FROM messages_words w WHERE messages_words MATCH ? {place} "
        f"ORDER BY w.rowid DESC LIMIT {LOOKED_UP_AT_MOST}"
    )
    return sql, (*values, match, *place_values)


def _listed(db: Database, match: str, held: Sequence[Condition], filter_: Filter, before: int | None) -> Query:
    """The matches that pass. What a filter leaves is listed from its index, so that only such rows are looked up."""
    few = exchanges.listed(db, held, LISTED)
    if few:
        ids, ids_values, rest = few
        _list(db, ids, ids_values)
        return _among_listed(match, rest, before)
    reply, values = _reply(held)
    if filter_.until_ms is not None:
        before = _least(before, _newest(db, filter_))
    place, place_values = _before(before)
    shown = "" if held else f"OR {_SHOWN}"
    # LIMIT keeps SQLite from merging the two, which would look up each reply twice.
    sql = (
        f"SELECT rowid, reply FROM (SELECT w.rowid, {reply} AS reply FROM messages_words w "
        f"WHERE messages_words MATCH ? {place} ORDER BY w.rowid DESC LIMIT -1) w WHERE reply IS NOT NULL {shown}"
    )
    return sql, (*values, match, *place_values)


def _list(db: Database, ids: str, values: tuple[Any, ...]) -> None:
    """Put the replies that a condition leaves into the table `listed` of this connection.

    While one types, the same list serves each key until something is written.
    """
    wanted = f"{ids} {values}"
    db.conn.execute("CREATE TABLE IF NOT EXISTS temp.listed (id INTEGER PRIMARY KEY)")
    db.conn.execute("CREATE TABLE IF NOT EXISTS temp.listed_as (what TEXT, elsewhere INTEGER, here INTEGER)")
    for what, elsewhere, here in select(db, "SELECT what, elsewhere, here FROM temp.listed_as"):
        if (what, elsewhere, here) == (wanted, changes_elsewhere(db), db.conn.total_changes):
            return
    elsewhere = changes_elsewhere(db)
    db.conn.execute("DELETE FROM temp.listed_as")
    db.conn.execute("DELETE FROM temp.listed")
    db.conn.execute(f"INSERT INTO temp.listed {ids}", values)
    db.conn.execute("INSERT INTO temp.listed_as VALUES (?, ?, ?)", (wanted, elsewhere, db.conn.total_changes + 1))


def _reply(held: Sequence[Condition]) -> Query:
    """The reply that a match is or, if it is a prompt, the newest answer, where it passes."""
    passes, values = _passes([exchanges.SHOWN, *held])
    one = f"SELECT message_id FROM exchanges WHERE message_id = w.rowid AND {passes}"
    answers = f"SELECT max(message_id) FROM exchanges WHERE {_ANSWERS} AND {passes}"
    return f"coalesce(({one}), ({answers}))", (*values, *values)


def _among_listed(match: str, rest: Sequence[Condition], before: int | None) -> Query:
    """The matches of which the list has themselves or an answer that passes the `rest` too.

    A join: as subqueries of each match the same takes half as long again. The rows of replies are looked up only
    where there is `rest` to try.
    """
    passes, values = _passes(rest)
    tried = f"AND EXISTS (SELECT 1 FROM exchanges WHERE message_id = {{}}.id AND {passes})" if rest else ""
    place, place_values = _before(before)
    sql = (
        "SELECT w.rowid, coalesce(own.id, max(answer.id)) FROM messages_words w "
        f"LEFT JOIN temp.listed own ON own.id = w.rowid {tried.format('own')} "
        "LEFT JOIN messages m INDEXED BY messages_parent ON m.parent_id = w.rowid "
        f"LEFT JOIN temp.listed answer ON answer.id = m.id {tried.format('answer')} "
        f"WHERE messages_words MATCH ? {place} AND coalesce(own.id, answer.id) IS NOT NULL "
        "GROUP BY w.rowid ORDER BY w.rowid DESC"
    )
    return sql, (*values, *values, match, *place_values)


def _passes(held: Sequence[Condition]) -> Query:
    # The + keeps SQLite from going through all that has a tag for each match.
    passes = " AND ".join(f"+{sql}" if column == "message_id" else sql for sql, _, column in held)
    return passes, tuple(value for one in held for value in one[1])


def _before(message_id: int | None) -> tuple[str, tuple[int, ...]]:
    return ("", ()) if message_id is None else ("AND w.rowid < ?", (message_id,))


def _newest(db: Database, filter_: Filter) -> int:
    """One past the newest reply of the filter's time. Ids grow with time but for what was imported."""
    where, values = exchanges.joined(exchanges.conditions(Filter(since_ms=filter_.since_ms, until_ms=filter_.until_ms)))
    query = f"SELECT max(message_id) FROM exchanges INDEXED BY exchanges_created_ms WHERE {where}"
    return (select(db, query, values)[0][0] or 0) + 1


def _least(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


def standing(db: Database, message_ids: Sequence[int], filter_: Filter = EVERYTHING) -> list[tuple[int, int | None]]:
    """Those of these messages that pass, in this order, each with the reply that it stands for."""
    held = exchanges.conditions(filter_)
    passes, values = exchanges.joined(held)
    rows = select(
        db,
        f"WITH w(rowid) AS (SELECT value FROM json_each(?)) SELECT w.rowid, {_REPLY.format(passes=passes)} AS reply "
        f"FROM w WHERE {'reply IS NOT NULL' if held else f'(reply IS NOT NULL OR {_SHOWN})'}",
        (json.dumps(list(message_ids)), *values, *values),
    )
    replies = dict(rows)
    return [(one, replies[one]) for one in message_ids if one in replies]


def told(db: Database, found: Sequence[tuple[int, int | None]], terms: list[Term]) -> list[Hit]:
    """The hits with their texts, in this order; what was deleted meanwhile is left out."""
    ids = [message_id for message_id, _ in found]
    rows = select(
        db,
        "SELECT m.id, m.conversation_id, m.created_ms, m.role, c.title, m.content FROM messages m "
        f"JOIN conversations c ON c.id = m.conversation_id WHERE m.id IN ({', '.join('?' * len(ids))})",
        ids,
    )
    texts = {row[0]: row for row in rows}
    replies = {one.message_id: one for one in exchanges.by_ids(db, [reply for _, reply in found if reply is not None])}
    hits = []
    for message_id, reply in found:
        if message_id in texts:
            *values, text = texts[message_id]
            values += [tuple(query.snippet(text, terms)), replies.get(reply or 0)]
            hits.append(Hit(*values))
    return hits


def _sorted(hits: list[Hit], sort: Sort, descending: bool) -> list[Hit]:
    """By the column of their exchanges; those without one, or whose value is unknown, come last."""

    def value(hit: Hit) -> Any:
        return None if hit.exchange is None else getattr(hit.exchange, exchanges.ATTRIBUTES[sort])

    known = [hit for hit in hits if value(hit) is not None]
    return sorted(known, key=value, reverse=descending) + [hit for hit in hits if value(hit) is None]
