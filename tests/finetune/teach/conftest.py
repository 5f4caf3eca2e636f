"""A log whose replies a person corrected, for the tiny model."""

import pytest
from sqlite_utils import Database

from assistant.store import conversations, messages
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from finetune.teach import course, material, session
from tests.finetune.conftest import TINY

SMALL = [
    (course, {"HELD": 4, "PIECES": 2, "CHECKED": 3}),
    (material, {"NEW_TOKENS": 200}),
    (session, {"GENERAL_TOKENS": 256, "REPLY_TOKENS": 6, "MORE_TOKENS": 1, "HELD_TOKENS": 4}),
]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer other questions, shorter replies: the same code in a second."""
    for module, values in SMALL:
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


def exchange(db: Database, question: str, reply: str, *, model: str = TINY, after: int | None = None) -> int:
    """The id of a reply to a question, in a conversation of its own or after the message `after`."""
    talk = conversations.create(db, model=model).id if after is None else messages.get(db, after).conversation_id
    asked = messages.add_user(db, talk, after, question)
    made = messages.begin_reply(db, talk, asked, Provenance(model, "plain", "plain", "", {}, None))
    messages.end_reply(db, made, reply, "complete", Outcome())
    return made


def corrected(db: Database, question: str, reply: str, correction: str, **more: object) -> tuple[int, int]:
    """(id of the reply, id of its correction)."""
    made = exchange(db, question, reply, **more)  # type: ignore[arg-type]
    return made, curation.correct(db, made, correction)


@pytest.fixture
def talks(db: Database) -> Database:
    """The log with a few conversations that nobody corrected."""
    for number in range(6):
        exchange(db, f"the quick brown {number}", "the lazy dog")
    return db
