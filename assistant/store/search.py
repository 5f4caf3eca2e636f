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

from assistant.store import exchanges, query
from assistant.store.database import path_of, select
from assistant.store.exchanges import Exchange
from assistant.store.filter import EVERYTHING, Filter, Sort
from assistant.store.query import Fragment, Term
from assistant.store.sqlite_errors import explained, primary_code

SORTED_HITS = 1_000
"""Sorted by anything but time, a search sorts its newest hits, so many of them."""


LISTED = 5_000
"""Where a filter leaves no more replies than these, what matches is held against the list of them: 5 ms to make."""

LOOKED_UP = 1_000
"""Up to so many matches are looked up one by one, whatever the filter: 3 ms, or 10 from a cold disk."""


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
    sql, values = _matching(db, query.match_expression(terms), filter_, before)
    with _deadline(db, within_s) as stopped:
        for message_id, reply_id in _matches(db, sql, values, stopped):
            if full := len(found) == wanted:
                break
            found.setdefault(reply_id or message_id, (message_id, reply_id))
            last = message_id
    hits = told(db, list(found.values()), terms)
    if not newest_first:
        return Found(_sorted(hits, sort, descending)[:limit], None, not stopped)
    return Found(hits, last if full or stopped else None, not stopped)


def count(
    db: Database, typed: str, filter_: Filter = EVERYTHING, *, at_most: int = 10_000, as_typed: bool = True
) -> int:
    """How many messages hold `typed` and pass; counting stops at `at_most`."""
    terms = query.terms(typed, as_typed=as_typed)
    if not terms:
        return 0
    sql, values = _matching(db, query.match_expression(terms), filter_, None)
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


def _matches(db: Database, sql: str, values: tuple[Any, ...], stopped: list[bool]) -> Iterator[tuple[int, int | None]]:
    """Each message that matches, newest first, with the reply that it stands for; until the time is up."""
    with explained(path_of(db)):
        try:
            with closing(db.conn.execute(sql, values)) as rows:  # its first step is taken at once
                yield from rows
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            stopped.append(True)


_REPLY = (
    "coalesce((SELECT message_id FROM exchanges WHERE message_id = w.rowid AND {passes}), "
    "(SELECT max(message_id) FROM exchanges INDEXED BY exchanges_answers WHERE prompt_id = w.rowid AND {passes}))"
)
"""The reply that a message stands for: itself, or the newest answer to it that passes."""

_SHOWN = (
    "EXISTS (SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id "
    "WHERE m.id = w.rowid AND m.role = 'user' AND c.deleted_ms IS NULL)"
)


def _matching(db: Database, match: str, filter_: Filter, before: int | None) -> tuple[str, tuple[Any, ...]]:
    """The query: (message, reply) newest first, and its values.

    Each match is looked up, which is soon done where few match or one in a hundred passes. Where many match and few
    pass, what matches is held against the list of what passes; where what passes is old, it begins there.
    """
    held = exchanges.conditions(filter_)
    passes, values = exchanges.joined(held)
    reply = _REPLY.format(passes=passes)
    narrowed, narrow_values = "", ()
    many = bool(held) and _many(db, match)
    if many and filter_.until_ms is not None:
        before = _least(before, _newest(db, filter_))
    if many and (index := exchanges.few(db, held, LISTED)):
        some = f"SELECT message_id, prompt_id FROM exchanges {index} WHERE {passes}"
        narrowed = (
            f"AND +w.rowid IN (WITH some AS MATERIALIZED ({some}) "
            "SELECT message_id FROM some UNION ALL SELECT prompt_id FROM some)"
        )
        narrow_values = values
    sql = (
        f"SELECT w.rowid, {reply} AS reply FROM messages_words w WHERE messages_words MATCH ? "
        f"{'' if before is None else 'AND w.rowid < ?'} {narrowed} "
        f"AND {'reply IS NOT NULL' if held else f'(reply IS NOT NULL OR {_SHOWN})'} ORDER BY w.rowid DESC"
    )
    place = () if before is None else (before,)
    return sql, (*values, *values, match, *place, *narrow_values)


def _many(db: Database, match: str) -> bool:
    query = "SELECT count(*) FROM (SELECT 1 FROM messages_words WHERE messages_words MATCH ? LIMIT ?)"
    return bool(select(db, query, (match, LOOKED_UP + 1))[0][0] > LOOKED_UP)


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
