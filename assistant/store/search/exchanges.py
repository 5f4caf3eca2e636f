"""Exchanges: every reply with what it answers, sorted by any column and filtered by all of them, a page at a time.

A page is found in the index of the column it is sorted by, without touching rows or texts. A filter that leaves few
rows is gathered from its own index and sorted. One that leaves some becomes a list of ids, from its own index too, that
the sorted index is held against. One that leaves many is tried on each row, of which few are needed then. So a page
costs little unless several filters, each of which leaves many, leave few together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from assistant import ratings
from assistant.errors import StoreError
from assistant.store.database import select
from assistant.store.search.filter import COLUMNS, DECISIONS, EVERYTHING, Filter, Sort

FEW = 30_000
"""Up to so many rows are gathered and sorted: 25 ms."""

SOME = 60_000
"""Up to so many ids are listed: 10 ms. Where more pass, one row in ten does."""

SHOWN_CHARACTERS = 300
"""How much of a text a row has."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A reply and what it answers. `prompt` and `reply` are how the texts begin; an unknown `surprise` is None."""

    message_id: int
    conversation_id: int
    prompt_id: int | None
    created_ms: int
    model: str
    adapter: str
    template: str
    rating: int
    decision: str
    tags: tuple[str, ...]
    tokens: int
    surprise: float | None
    length: int
    corrects_id: int | None
    title: str
    prompt: str
    reply: str


_IMPORTED = (
    "EXISTS (SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id "
    "WHERE m.id = exchanges.message_id AND m.source_id IS NOT NULL AND c.source <> '')"
)

Condition = tuple[str, tuple[Any, ...], str | None]
"""SQL about a row of `exchanges`, its values, and the column whose index finds such rows, if there is one."""


def conditions(filter_: Filter) -> list[Condition]:
    """The filter as SQL. Raises `StoreError` for a rating or decision there isn't."""
    f = filter_
    found: list[Condition] = []
    for column, equal in (
        ("conversation_id", f.conversation),
        ("model", f.model),
        ("adapter", f.adapter),
        ("template", f.template),
        ("decision", f.decision),
    ):
        if equal is not None:
            found.append((f"{column} = ?", (equal,), column))
    for column, least, most in (
        ("tokens", f.min_tokens, f.max_tokens),
        ("surprise", f.min_surprise, f.max_surprise),
        ("characters", f.min_length, f.max_length),
        ("created_ms", f.since_ms, None if f.until_ms is None else f.until_ms - 1),
    ):
        if column == "surprise" and most is not None:
            least = max(least or 0.0, 0.0)
        bounds = [(sign, bound) for sign, bound in ((">=", least), ("<=", most)) if bound is not None]
        if bounds:
            sql = " AND ".join(f"{column} {sign} ?" for sign, _ in bounds)
            found.append((sql, tuple(_bounded(bound) for _, bound in bounds), column))
    if f.rating is not None:
        found.append(_rated(f.rating))
    if f.decision is not None and f.decision not in DECISIONS:
        raise StoreError(f"A decision to filter by is one of {', '.join(DECISIONS)}, not {f.decision!r}.")
    found += [("message_id IN (SELECT message_id FROM tags WHERE tag = ?)", (tag,), "message_id") for tag in f.tags]
    if f.judged is not None:
        found.append((f"judged = {int(f.judged)}", (), None))
    if f.imported is not None:
        found.append((f"{'' if f.imported else 'NOT '}{_IMPORTED}", (), None))
    if f.corrected is not None:
        within = "EXISTS" if f.corrected else "NOT EXISTS"
        found.append((f"{within} (SELECT 1 FROM messages c WHERE c.corrects_id = exchanges.message_id)", (), None))
    return found


def _rated(word: str) -> Condition:
    known = ratings.filters()
    if word not in known:
        raise StoreError(f"A rating to filter by is one of {', '.join(known)}, not {word!r}.")
    number = known[word]
    return (f"rating <> {ratings.NONE.number}", (), None) if number is None else (f"rating = {number}", (), "rating")


def _bounded(number: float) -> float:
    """A number that SQLite's 64-bit integers can be compared with."""
    return max(-(2**63), min(number, 2**63 - 1)) if isinstance(number, int) else number


def page(
    db: Database,
    filter_: Filter = EVERYTHING,
    *,
    sort: Sort = "time",
    descending: bool = True,
    limit: int = 50,
    offset: int = 0,
    after: Exchange | None = None,
    total: int | None = None,
) -> list[Exchange]:
    """`limit` exchanges from `offset`, or those that come next `after` one that was the last of a page.

    `after` costs the same however far down; an offset costs more the farther it is from both ends of the list. `total`
    saves counting where the caller knows how many there are without a filter.
    """
    held = conditions(filter_)
    backwards = False
    if not held and after is None and offset > FEW:
        total = count(db) if total is None else total
        backwards = total < 2 * offset
    if backwards and total is not None:
        offset, limit = max(0, total - offset - limit), max(0, min(limit, total - offset))
    column, down = COLUMNS[sort], descending != backwards
    index, where, values = _plan(db, held, column)
    index = index or f"INDEXED BY exchanges_{column}"
    order = f"ORDER BY {column} {_DIRECTION[down]}, message_id {_DIRECTION[down]}"
    ids: list[int] = []
    for more, place in _places(column, down, _value(after, sort), after):
        query = f"SELECT message_id FROM exchanges {index} WHERE {where}{more} {order} LIMIT ? OFFSET ?"
        ids += [row[0] for row in select(db, query, (*values, *place, limit - len(ids), offset))]
    return by_ids(db, ids[::-1] if backwards else ids)


_DIRECTION = {True: "DESC", False: "ASC"}


def _places(column: str, down: bool, value: Any, after: Exchange | None) -> list[tuple[str, tuple[Any, ...]]]:
    """What comes after a row: first those of the same value, then the other values. Each is a range of the index."""
    if after is None:
        return [("", ())]
    sign = "<" if down else ">"
    same = (f" AND {column} = ? AND message_id {sign} ?", (value, after.message_id))
    return [same, (f" AND {column} {sign} ?", (value,))]


def _value(after: Exchange | None, sort: Sort) -> Any:
    """The value of a row as its column has it."""
    value = None if after is None else getattr(after, ATTRIBUTES[sort])
    if sort == "surprise" and value is None:
        return -1.0
    return ", ".join(value) if isinstance(value, tuple) else value


ATTRIBUTES = {name: {"characters": "length"}.get(column, column) for name, column in COLUMNS.items()}


def _plan(db: Database, held: Sequence[Condition], column: str) -> tuple[str, str, tuple[Any, ...]]:
    """`INDEXED BY` of a filter that leaves few rows or nothing, the condition, and its values."""
    if index := few(db, held):
        return index, *joined(held)
    listed = [one if one[2] == column else _listed(db, one) for one in held]
    return "", *joined(listed)


def _listed(db: Database, condition: Condition) -> Condition:
    """A condition as a list of ids, unless that would be long."""
    if condition[2] in (None, "message_id") or _passing(db, condition, SOME + 1) > SOME:
        return condition
    ids, values = _ids(condition)
    return f"message_id IN ({ids})", values, None


def _passing(db: Database, condition: Condition, at_most: int) -> int:
    """How many rows pass a condition that has an index, counted up to `at_most`."""
    some, values = _ids(condition)
    return int(select(db, f"SELECT count(*) FROM ({some} LIMIT ?)", (*values, at_most))[0][0])


def joined(held: Sequence[Condition]) -> tuple[str, tuple[Any, ...]]:
    """All conditions as one, deleted conversations left out, with the values of all."""
    return " AND ".join(one[0] for one in (SHOWN, *held)), tuple(v for one in held for v in one[1])


def few(db: Database, held: Sequence[Condition], at_most: int | None = None) -> str:
    """The `INDEXED BY` that leaves the fewest rows, where one leaves no more than `at_most` (`FEW`); else empty."""
    number = _fewest(db, held, FEW if at_most is None else at_most)
    if number is None:
        return ""
    column = held[number][2]
    return "NOT INDEXED" if column == "message_id" else f"INDEXED BY exchanges_{column}"


def listed(
    db: Database, held: Sequence[Condition], at_most: int
) -> tuple[str, tuple[Any, ...], list[Condition]] | None:
    """SQL that lists the replies of the condition that leaves the fewest, its values, and what is still to be tried.

    It reads an index alone. None where each condition leaves more than `at_most`.
    """
    number = _fewest(db, held, at_most)
    if number is None:
        return None
    rest = [one for at, one in enumerate(held) if at != number]
    return *_ids(held[number]), [SHOWN, *rest] if held[number][2] == "message_id" else rest


def _fewest(db: Database, held: Sequence[Condition], at_most: int) -> int | None:
    """Which of the conditions with an index leaves the fewest rows; None where each leaves more than `at_most`."""
    least, fewest = at_most + 1, None
    for number in reversed(range(len(held))):  # models and templates, of which there are few, come last
        if held[number][2] is not None and (count := _passing(db, held[number], least)) < least:
            least, fewest = count, number
    return fewest


SHOWN: Condition = ("hidden = 0", (), None)
"""The condition that a reply's conversation isn't deleted."""


def _ids(condition: Condition) -> tuple[str, tuple[Any, ...]]:
    sql, values, column = condition
    if column == "message_id":
        return "SELECT message_id FROM tags WHERE tag = ?", values
    return f"SELECT message_id FROM exchanges INDEXED BY exchanges_{column} WHERE hidden = 0 AND {sql}", values


def count(db: Database, filter_: Filter = EVERYTHING, *, at_most: int | None = None) -> int:
    """How many exchanges pass; counting stops at `at_most`, so that it takes no longer than a page."""
    held = conditions(filter_)
    where, values = joined(held)
    index = few(db, held, SOME)
    if not index:
        index = f"INDEXED BY exchanges_{'unjudged' if filter_ == Filter(judged=False) else 'rating'}"
    rows = select(
        db,
        f"SELECT count(*) FROM (SELECT 1 FROM exchanges {index} WHERE {where} LIMIT ?)",
        (*values, -1 if at_most is None else at_most),
    )
    return int(rows[0][0])


def reply_ids(db: Database, filter_: Filter = EVERYTHING) -> list[int]:
    """The ids of all replies that pass: 60 ms for 100,000."""
    where, values = joined(conditions(filter_))
    return [row[0] for row in select(db, f"SELECT message_id FROM exchanges WHERE {where}", values)]


def conversations(filter_: Filter) -> tuple[str, tuple[Any, ...]]:
    """SQL that selects the ids of conversations with a reply that passes, and its values."""
    where, values = joined(conditions(filter_))
    return f"SELECT conversation_id FROM exchanges WHERE {where}", values


def by_ids(db: Database, ids: Sequence[int]) -> list[Exchange]:
    """The exchanges of these replies, in this order; those that are gone are left out."""
    marks = ", ".join("?" * len(ids))
    rows = select(
        db,
        "SELECT e.message_id, e.conversation_id, e.prompt_id, e.created_ms, e.model, e.adapter, e.template, e.rating, "
        f"e.decision, e.tags, e.tokens, e.surprise, e.characters, m.corrects_id, c.title, "
        f"substr(coalesce(p.content, ''), 1, {SHOWN_CHARACTERS}), substr(m.content, 1, {SHOWN_CHARACTERS}) "
        "FROM exchanges e JOIN messages m ON m.id = e.message_id JOIN conversations c ON c.id = e.conversation_id "
        f"LEFT JOIN messages p ON p.id = e.prompt_id WHERE e.message_id IN ({marks})",
        ids,
    )
    found = {row[0]: _exchange(row) for row in rows}
    return [found[one] for one in ids if one in found]


def _exchange(row: tuple[Any, ...]) -> Exchange:
    tags = tuple(row[9].split(", ")) if row[9] else ()
    surprise = row[11] if row[11] >= 0 else None
    values = [*row[:9], tags, row[10], surprise, *row[12:]]
    return Exchange(*values)


def values_of(db: Database, column: Literal["model", "adapter", "template", "decision"]) -> list[str]:
    """The different values of a column, for a menu. A jump through its index: as fast for a million rows."""
    rows = select(
        db,
        f"WITH RECURSIVE each(value) AS (SELECT min({column}) FROM exchanges WHERE hidden = 0 UNION ALL "
        f"SELECT (SELECT min({column}) FROM exchanges WHERE hidden = 0 AND {column} > each.value) FROM each "
        "WHERE each.value IS NOT NULL) SELECT value FROM each WHERE value IS NOT NULL",
    )
    return [row[0] for row in rows]
