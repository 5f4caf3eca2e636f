"""Exchanges: every reply with what it answers, sorted by any column and filtered by all of them, a page at a time.

A page is found in the index of the column it is sorted by, without touching a text. A filter that leaves few rows is
gathered from its own index and sorted; one that leaves many is tried on each row of the sorted index. So a page costs
little unless several filters, each of which leaves many, leave few together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.database import select

Sort = Literal[
    "time", "conversation", "model", "adapter", "template", "rating", "decision", "tags", "tokens", "surprise", "length"
]

COLUMNS: dict[Sort, str] = {
    "time": "created_ms",
    "conversation": "conversation_id",
    "model": "model",
    "adapter": "adapter",
    "template": "template",
    "rating": "rating",
    "decision": "decision",
    "tags": "tags",
    "tokens": "tokens",
    "surprise": "surprise",
    "length": "characters",
}
"""What exchanges are sorted by, and the column it is in."""

FEW = 5_000
"""Up to so many rows are gathered and sorted: 5 ms."""

SHOWN_CHARACTERS = 300
"""How much of a text a row has."""

RATINGS = {"good": "rating = 1", "bad": "rating = -1", "unrated": "rating = 0", "rated": "rating <> 0"}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which exchanges. None and empty leave everything in; all that is given must hold."""

    since_ms: int | None = None
    """Replies made at this time or later."""
    until_ms: int | None = None
    """Replies made before this time."""
    conversation: int | None = None
    """Replies in the conversation of this id."""
    model: str | None = None
    """Replies of the model of this name."""
    adapter: str | None = None
    """Replies made with the adapter of this hash; empty: with none."""
    template: str | None = None
    """Replies made with the template of this name."""
    rating: str | None = None
    """`good`, `bad`, `unrated`, or `rated` for either."""
    decision: str | None = None
    """`keep`, `skip` or `undecided`."""
    tags: tuple[str, ...] = ()
    """Replies that have this tag; given several times, all of them."""
    corrected: bool | None = None
    """Replies that a person has corrected, or those that none has."""
    judged: bool | None = None
    """Replies that are rated, kept, skipped or corrected, or those that are not."""
    min_tokens: int | None = None
    """Replies of at least so many tokens."""
    max_tokens: int | None = None
    """Replies of at most so many tokens."""
    min_surprise: float | None = None
    """Replies whose mean negative log-probability is at least this, in nats a token."""
    max_surprise: float | None = None
    """Replies whose mean negative log-probability is known and at most this, in nats a token."""
    min_length: int | None = None
    """Replies of at least so many characters."""
    max_length: int | None = None
    """Replies of at most so many characters."""


EVERYTHING = Filter()


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
        if f.rating not in RATINGS:
            raise StoreError(f"A rating to filter by is one of {', '.join(RATINGS)}, not {f.rating!r}.")
        found.append((RATINGS[f.rating], (), None if f.rating == "rated" else "rating"))
    if f.decision not in (None, "keep", "skip", "undecided"):
        raise StoreError(f"A decision to filter by is keep, skip or undecided, not {f.decision!r}.")
    found += [("message_id IN (SELECT message_id FROM tags WHERE tag = ?)", (tag,), "message_id") for tag in f.tags]
    if f.judged is not None:
        found.append(("judged" if f.judged else "NOT judged", (), None))
    if f.corrected is not None:
        within = "EXISTS" if f.corrected else "NOT EXISTS"
        found.append((f"{within} (SELECT 1 FROM messages c WHERE c.corrects_id = exchanges.message_id)", (), None))
    return found


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
) -> list[Exchange]:
    """`limit` exchanges from `offset`, or those that come next `after` one that was the last of a page.

    `after` costs the same however far down; an offset costs more the farther it is from both ends of the list.
    """
    held = conditions(filter_)
    place: Condition | None = None
    if after is not None:
        value = -1.0 if sort == "surprise" and after.surprise is None else getattr(after, ATTRIBUTES[sort])
        value = ", ".join(value) if isinstance(value, tuple) else value
        row = f"({COLUMNS[sort]}, message_id) {'<' if descending else '>'} (?, ?)"
        place = (row, (value, after.message_id), None)
    backwards = False
    if not held and place is None and offset > FEW and (total := count(db)) < 2 * offset:
        backwards, offset, limit = True, max(0, total - offset - limit), max(0, min(limit, total - offset))
    ids = _ids(db, held, place, sort, descending != backwards, limit, offset)
    return by_ids(db, ids[::-1] if backwards else ids)


ATTRIBUTES = {name: {"characters": "length"}.get(column, column) for name, column in COLUMNS.items()}


def _ids(
    db: Database,
    held: list[Condition],
    place: Condition | None,
    sort: Sort,
    descending: bool,
    limit: int,
    offset: int,
) -> list[int]:
    column = COLUMNS[sort]
    index = few(db, held) or f"INDEXED BY exchanges_{column}"
    where, values = joined([*held, place] if place else held)
    direction = "DESC" if descending else "ASC"
    rows = select(
        db,
        f"SELECT message_id FROM exchanges {index} WHERE {where} "
        f"ORDER BY {column} {direction}, message_id {direction} LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    return [row[0] for row in rows]


def joined(held: Sequence[Condition]) -> tuple[str, tuple[Any, ...]]:
    """All conditions as one, deleted conversations left out, with the values of all."""
    return " AND ".join(["NOT hidden", *(one[0] for one in held)]), tuple(v for one in held for v in one[1])


def few(db: Database, held: Sequence[Condition]) -> str:
    """The `INDEXED BY` that leaves the fewest rows, where one leaves no more than `FEW`; else empty."""
    counted = []
    for sql, values, column in held:
        if column == "message_id":
            number = select(db, "SELECT count(*) FROM (SELECT 1 FROM tags WHERE tag = ? LIMIT ?)", (*values, FEW + 1))
            counted.append((number[0][0], "NOT INDEXED"))
        elif column is not None:
            index = f"INDEXED BY exchanges_{column}"
            query = f"SELECT count(*) FROM (SELECT 1 FROM exchanges {index} WHERE NOT hidden AND {sql} LIMIT ?)"
            counted.append((select(db, query, (*values, FEW + 1))[0][0], index))
    least = min(counted, default=(FEW + 1, ""))
    return least[1] if least[0] <= FEW else ""


def count(db: Database, filter_: Filter = EVERYTHING, *, at_most: int | None = None) -> int:
    """How many exchanges pass; counting stops at `at_most`, so that it takes no longer than a page."""
    held = conditions(filter_)
    where, values = joined(held)
    index = few(db, held) if held else "INDEXED BY exchanges_rating"
    if filter_ == Filter(judged=False):
        index = "INDEXED BY exchanges_unjudged"
    rows = select(
        db,
        f"SELECT count(*) FROM (SELECT 1 FROM exchanges {index} WHERE {where} LIMIT ?)",
        (*values, -1 if at_most is None else at_most),
    )
    return int(rows[0][0])


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
        f"WITH RECURSIVE each(value) AS (SELECT min({column}) FROM exchanges WHERE NOT hidden UNION ALL "
        f"SELECT (SELECT min({column}) FROM exchanges WHERE NOT hidden AND {column} > each.value) FROM each "
        "WHERE each.value IS NOT NULL) SELECT value FROM each WHERE value IS NOT NULL",
    )
    return [row[0] for row in rows]
