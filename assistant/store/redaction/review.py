"""What would be redacted, for a person to look through."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlite_utils import Database

from assistant.redaction import Hit
from assistant.store.database import select
from assistant.store.files.exports import stored
from assistant.store.redaction.exported import texts
from assistant.store.redaction.redactor import Redactor
from assistant.store.search.filter import EVERYTHING, Filter

AROUND_CHARACTERS = 30
PLACES_KEPT = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands. `where`: title, system, user, assistant, error, note, tag, inputs, draft or source."""

    conversation_id: int
    message_id: int | None
    where: str
    before: str
    value: str
    after: str


@dataclass(slots=True)
class Found:
    """A value and the first places in which it stands."""

    kind: str
    value: str
    count: int = 0
    places: list[Place] = field(default_factory=list)


def everything(db: Database) -> list[int]:
    """The ids of all conversations, hidden ones too: their text is still in the log."""
    return [row[0] for row in select(db, "SELECT id FROM conversations ORDER BY id")]


def review(db: Database, ids: Iterable[int], redactor: Redactor, filter_: Filter = EVERYTHING) -> list[Found]:
    """The personal values in these conversations, or those of them that hold a reply which passes; by kind, the most
    frequent first.
    """
    found: dict[tuple[str, str], Found] = {}
    for conversation in stored.read(db, ids, filter_=filter_):
        for where, message_id, text in texts(conversation):
            for hit in redactor.hits(text):
                one = found.setdefault((hit.kind, hit.identity), Found(hit.kind, hit.text))
                one.count += 1
                if len(one.places) < PLACES_KEPT:
                    one.places.append(_place(conversation.fields["id"], message_id, where, text, hit))
    return sorted(found.values(), key=lambda one: (one.kind, -one.count, one.value))


def _place(conversation_id: int, message_id: int | None, where: str, text: str, hit: Hit) -> Place:
    before = text[max(0, hit.start - AROUND_CHARACTERS) : hit.start]
    return Place(conversation_id, message_id, where, before, hit.text, text[hit.end : hit.end + AROUND_CHARACTERS])
