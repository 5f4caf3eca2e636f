"""What to judge next: the conversation with the most surprising reply that nobody has judged, from its beginning.

A reply is judged when it is rated, kept, skipped or corrected; a correction needs no judgement. The model has most to
learn where it was least sure; replies whose surprise isn't known, as imported ones, come last, the newest first.
One conversation at a time, because a reply is judged by what came before it.
"""

from dataclasses import dataclass, replace
from typing import Any

from sqlite_utils import Database

from assistant.store.database import select
from assistant.store.search import exchanges
from assistant.store.search.exchanges import Exchange
from assistant.store.search.filter import EVERYTHING, Filter


@dataclass(frozen=True, slots=True)
class Progress:
    """How many replies are judged, of how many."""

    done: int
    total: int


def up_next(db: Database, filter_: Filter = EVERYTHING, *, conversation_id: int | None = None) -> list[Exchange]:
    """The unjudged replies of the conversation that is up, in the order they were made; empty when all are judged.

    `conversation_id` is the one that is being judged: it stays up until all of it is.
    """
    passes, values = exchanges.joined(exchanges.conditions(filter_))
    if conversation_id is not None and (here := _unjudged(db, conversation_id, passes, values)):
        return here
    most_surprising = select(
        db,
        f"SELECT conversation_id FROM exchanges INDEXED BY exchanges_unjudged WHERE judged = 0 AND {passes} "
        "ORDER BY surprise DESC, message_id DESC LIMIT 1",
        values,
    )
    return _unjudged(db, most_surprising[0][0], passes, values) if most_surprising else []


def _unjudged(db: Database, conversation_id: int, passes: str, values: tuple[Any, ...]) -> list[Exchange]:
    rows = select(
        db,
        "SELECT message_id FROM exchanges INDEXED BY exchanges_conversation_id "
        f"WHERE conversation_id = ? AND judged = 0 AND {passes} ORDER BY message_id",
        (conversation_id, *values),
    )
    return exchanges.by_ids(db, [row[0] for row in rows])


def doubles_up_next(db: Database, filter_: Filter = EVERYTHING) -> list[Exchange]:
    """The replies of the first group of doubles of which several pass and aren't skipped, side by side; or none.

    The groups are those that `doubles.find` found last. Choosing one of a group with `doubles.choose` is done with it.
    """
    passes, values = exchanges.joined(exchanges.conditions(filter_))
    rows = select(
        db,
        "WITH some AS (SELECT message_id, decision FROM exchanges WHERE message_id IN (SELECT message_id FROM doubles) "
        f"AND {passes}), up AS (SELECT d.group_id FROM doubles d JOIN some s USING (message_id) "
        "GROUP BY d.group_id HAVING sum(s.decision <> 'skip') > 1 ORDER BY d.group_id LIMIT 1) "
        "SELECT message_id FROM doubles JOIN some USING (message_id) WHERE group_id IN up ORDER BY message_id",
        values,
    )
    return exchanges.by_ids(db, [row[0] for row in rows])


def progress(db: Database, filter_: Filter = EVERYTHING) -> Progress:
    """How far one has come with the replies that pass."""
    total = exchanges.count(db, filter_)
    return Progress(total - exchanges.count(db, replace(filter_, judged=False)), total)
