"""Which tagged replies are examples to follow."""

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import deletion
from assistant.store.judgements import curation
from assistant.store.judgements.worked_examples import tagged
from tests.assistant.store.judgements.test_curation import ask


def test_good_kept_and_corrected_replies_with_the_tag(db: Database) -> None:
    good, kept, bad, skipped, unjudged, untagged = (ask(db, f"q{n}", f"a{n}")[1] for n in range(6))
    for one in (good, kept, bad, skipped, unjudged):
        curation.tag(db, one, "mood")
    curation.rate(db, untagged, 1)
    curation.rate(db, good, 1)
    curation.decide(db, kept, "keep")
    curation.rate(db, bad, -1)
    curation.rate(db, skipped, 1)
    curation.decide(db, skipped, "skip")
    assert tagged(db, " #mood ") == [("q0", "a0"), ("q1", "a1")]
    curation.correct(db, bad, "better")
    curation.correct(db, bad, "best")
    assert tagged(db, "mood") == [("q0", "a0"), ("q1", "a1"), ("q2", "best")]


def test_a_correction_may_have_the_tag_itself(db: Database) -> None:
    _, reply = ask(db, "q", "a")
    curation.tag(db, curation.correct(db, reply, "better"), "mood")
    assert tagged(db, "mood") == [("q", "better")]


def test_deleted_conversations_give_none(db: Database) -> None:
    _, reply = ask(db, "q", "a")
    curation.tag(db, reply, "mood")
    curation.rate(db, reply, 1)
    deletion.delete_conversations(db, [1])
    assert tagged(db, "mood") == []


def test_no_tag(db: Database) -> None:
    with pytest.raises(StoreError, match="A tag has"):
        tagged(db, "#")
