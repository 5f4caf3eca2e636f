"""One judgement of many replies: a single act of the journal, undone and redone as one.

`acts_of_many` keeps for each reply what it said before. The work is done in SQL, some thousand replies in a
transaction, so that nobody who writes meanwhile waits for more than a fifth of a second.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from assistant import ratings
from assistant.store.database import execute, select, transaction

AT_ONCE = 5_000
ROWS_KEPT = 2_000_000
"""Rows that all acts of many replies keep together, about 60 MB; older acts can no longer be undone."""

Told = Callable[[int, int], None]
"""Called with (done, total) replies."""


def quiet(_done: int, _total: int) -> None:
    """Progress that nobody follows."""


@dataclass(frozen=True, slots=True)
class Change:
    """What replies are to say: a rating, a decision, that they have a tag, or that they don't (`untag`)."""

    what: Literal["rating", "decision", "tag", "untag"]
    value: Any

    @property
    def is_tag(self) -> bool:
        return self.what in ("tag", "untag")

    @property
    def holds(self) -> str:
        """SQL that a message `m` says so already; `?` is the value."""
        if self.is_tag:
            exists = "EXISTS (SELECT 1 FROM tags WHERE message_id = m.id AND tag = ?)"
            return exists if self.what == "tag" else f"NOT {exists}"
        return f"coalesce((SELECT {self.what} FROM judgements WHERE message_id = m.id), {self._default}) = ?"

    @property
    def before(self) -> str:
        """SQL for what a message `m` says now."""
        if self.is_tag:
            return "NULL"
        return f"coalesce((SELECT {self.what} FROM judgements WHERE message_id = m.id), {self._default})"

    @property
    def _default(self) -> str:
        return str(ratings.NONE.number) if self.what == "rating" else "'undecided'"


def differing(db: Database, message_ids: Sequence[int], change: Change) -> int:
    """How many of these are finished replies that don't say so yet."""
    _mark(db, message_ids)
    query = f"SELECT count(*) FROM temp.marked m JOIN exchanges e ON e.message_id = m.id WHERE NOT ({change.holds})"
    return int(select(db, query, (change.value,))[0][0])


def tags_of_all(db: Database, message_ids: Sequence[int]) -> list[str]:
    """The tags that each of these replies has."""
    _mark(db, message_ids)
    rows = select(
        db,
        "SELECT tag FROM temp.marked m JOIN tags t ON t.message_id = m.id GROUP BY tag "
        "HAVING count(*) = (SELECT count(*) FROM temp.marked) ORDER BY tag",
    )
    return [row[0] for row in rows]


def collect(db: Database, act_id: int, message_ids: Sequence[int], change: Change) -> None:
    """Note for an act the replies that it changes, with what they say now. The oldest acts go where all keep too much.

    What isn't a finished reply, or says so already, is left out.
    """
    _mark(db, message_ids)
    execute(
        db,
        f"INSERT INTO acts_of_many (act_id, message_id, before) SELECT ?, m.id, {change.before} FROM temp.marked m "
        f"JOIN exchanges e ON e.message_id = m.id WHERE NOT ({change.holds})",
        (act_id, change.value),
    )
    execute(
        db,
        "DELETE FROM acts WHERE id <= (SELECT max(act_id) FROM (SELECT act_id, "
        "sum(count(*)) OVER (ORDER BY act_id DESC) AS kept FROM acts_of_many GROUP BY act_id) "
        "WHERE kept > ? AND act_id < ?)",
        (ROWS_KEPT, act_id),
    )


def apply(db: Database, act_id: int, change: Change, told: Told = quiet) -> int:
    """Make the replies of an act say it. How many there are: those deleted since are gone."""
    return _each(db, act_id, told, lambda chunk: _set(db, chunk, change, "?", (change.value,)))


def take_back(db: Database, act_id: int, change: Change, told: Told = quiet) -> int:
    """Make the replies of an act say what they said before. How many there are."""
    other = Change("untag" if change.what == "tag" else "tag", change.value) if change.is_tag else change
    return _each(db, act_id, told, lambda chunk: _set(db, chunk, other, "before", ()))


_Chunk = tuple[int, int, int]
"""(act, after which message, up to which)."""
_CHUNK = "FROM acts_of_many WHERE act_id = ? AND message_id > ? AND message_id <= ?"


def _set(db: Database, chunk: _Chunk, change: Change, value: str, values: tuple[Any, ...]) -> None:
    if change.what == "tag":
        execute(
            db, f"INSERT OR IGNORE INTO tags (message_id, tag) SELECT message_id, ? {_CHUNK}", (change.value, *chunk)
        )
    elif change.what == "untag":
        execute(
            db, f"DELETE FROM tags WHERE tag = ? AND message_id IN (SELECT message_id {_CHUNK})", (change.value, *chunk)
        )
    else:
        execute(
            db,
            f"INSERT INTO judgements (message_id, {change.what}) SELECT message_id, {value} {_CHUNK} "
            f"ON CONFLICT (message_id) DO UPDATE SET {change.what} = excluded.{change.what}",
            (*values, *chunk),
        )


def _each(db: Database, act_id: int, told: Told, work: Callable[[_Chunk], None]) -> int:
    """Work on the replies of an act, a chunk at a time."""
    total = int(select(db, "SELECT count(*) FROM acts_of_many WHERE act_id = ?", (act_id,))[0][0])
    last = 0
    for done in range(0, total, AT_ONCE):
        until = select(
            db,
            "SELECT max(message_id) FROM (SELECT message_id FROM acts_of_many WHERE act_id = ? AND message_id > ? "
            "ORDER BY message_id LIMIT ?)",
            (act_id, last, AT_ONCE),
        )[0][0]
        with transaction(db):
            work((act_id, last, until))
        last = until
        told(min(total, done + AT_ONCE), total)
    return total


def _mark(db: Database, message_ids: Sequence[int]) -> None:
    """Put the ids into the table `marked` of this connection."""
    db.conn.execute("CREATE TABLE IF NOT EXISTS temp.marked (id INTEGER PRIMARY KEY)")
    execute(db, "DELETE FROM temp.marked")
    execute(db, "INSERT OR IGNORE INTO temp.marked SELECT value FROM json_each(?)", (json.dumps(list(message_ids)),))
