"""Which votes count between a base and its adapter."""

from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from assistant.store import conversations, messages
from assistant.store.database import open_memory
from assistant.store.judgements import curation, votes
from assistant.store.messages import Outcome, Provenance

SEA, SKY = "5" * 64, "7" * 64


@pytest.fixture
def db() -> Iterator[Database]:
    db = open_memory()
    yield db
    db.close()


def pair(db: Database, first: str, second: str, template: str = "plain") -> tuple[int, int, int]:
    """(conversation, a reply by the adapter of the first hash, one by that of the second), empty being the base."""
    one = conversations.create(db, model="m")
    asked = messages.add_user(db, one.id, None, "Hi")
    made = []
    for hash_, name in ((first, "plain"), (second, template)):
        provenance = Provenance(
            model="m", template=name, template_hash=name, template_text=name, sampling={}, seed=1, adapter_hash=hash_
        )
        made.append(messages.begin_reply(db, one.id, asked, provenance))
        messages.end_reply(db, made[-1], "Hello", "complete", Outcome())
    return one.id, made[0], made[1]


def test_only_blind_votes_between_the_two_count(db: Database) -> None:
    won, lost, tied = pair(db, SEA, ""), pair(db, "", SEA), pair(db, SEA, "")
    curation.prefer(db, won[1], won[2], blind=True)
    curation.prefer(db, lost[1], lost[2], blind=True)
    curation.prefer(db, tied[1], tied[2], blind=True, tie=True)
    seen, other, template, deleted = pair(db, SEA, ""), pair(db, SKY, ""), pair(db, SEA, "", "poet"), pair(db, SEA, "")
    curation.prefer(db, seen[1], seen[2])
    for one in (other, template, deleted):
        curation.prefer(db, one[1], one[2], blind=True)
    conversations.delete(db, deleted[0])
    cast = votes.against_base(db, "m", SEA)
    assert [(one.conversation_id, one.won) for one in cast] == [(won[0], 1.0), (lost[0], 0.0), (tied[0], 0.5)]
    assert votes.against_base(db, "another", SEA) == []
