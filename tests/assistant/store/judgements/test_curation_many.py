"""One judgement of many replies is one act."""

from typing import Any

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import messages
from assistant.store.database import check, select
from assistant.store.judgements import curation, curation_many
from assistant.store.judgements.curation import Judgement, judge_many
from assistant.store.judgements.curation_many import Change
from assistant.store.messages import Outcome, Provenance
from assistant.store.redaction.apply import apply
from assistant.store.redaction.redactor import Redactor
from assistant.store.schema import derived
from tests.assistant.store.judgements.test_curation import ask


def replies(db: Database, count: int) -> list[int]:
    return [ask(db, f"q{number}", f"a{number}")[1] for number in range(count)]


def judged(db: Database, ids: list[int]) -> list[Judgement]:
    return [curation.judgement(db, one) for one in ids]


CHANGES = [
    Change("rating", 1),
    Change("rating", 0),
    Change("decision", "keep"),
    Change("decision", "undecided"),
    Change("tag", "story"),
    Change("untag", "story"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: f"{one.what}-{one.value}")
def test_all_are_changed_and_undone_and_redone_as_one(db: Database, change: Change) -> None:
    """What was judged before, in every way, is there again after the undo."""
    ids = replies(db, 8)
    for number, one in enumerate(ids):
        curation.rate(db, one, (1, -1, 0)[number % 3])
        curation.decide(db, one, ("keep", "skip")[number % 2])  # type: ignore[arg-type]
        if number % 2:
            curation.tag(db, one, "story")
        curation.tag(db, one, "other")
    before = judged(db, ids)
    changed = judge_many(db, ids, change)
    after = judged(db, ids)
    assert changed == sum(one != other for one, other in zip(before, after, strict=True)) > 0
    field, value = change.what, change.value
    if change.is_tag:
        assert all((value in one.tags) == (field == "tag") for one in after)
    else:
        assert all(getattr(one, field) == value for one in after)
    assert f"{changed} replies taken back" in curation.undo(db)
    assert judged(db, ids) == before
    assert f"{changed} replies put back" in curation.redo(db)
    assert judged(db, ids) == after
    assert check(db) == [] and not select(db, "PRAGMA foreign_key_check")


def test_the_exchanges_follow(db: Database) -> None:
    ids = replies(db, 5)
    for change in CHANGES:
        judge_many(db, ids, change)
    kept = select(db, "SELECT * FROM exchanges ORDER BY message_id")
    derived.rebuild(db)
    assert select(db, "SELECT * FROM exchanges ORDER BY message_id") == kept


def test_what_is_no_finished_reply_is_left_out(db: Database) -> None:
    user, reply = ask(db, "q", "a")
    talk = messages.get(db, reply).conversation_id
    growing = messages.begin_reply(db, talk, user, Provenance("m", "plain", "h", "", {}, 1))
    assert judge_many(db, [user, reply, growing, 999, reply], Change("rating", 1)) == 1
    messages.end_reply(db, growing, "b", "complete", Outcome())
    assert [curation.judgement(db, one).rating for one in (reply, growing)] == [1, 0]


def test_what_changes_nothing_is_no_act(db: Database) -> None:
    ids = replies(db, 3)
    judge_many(db, ids, Change("rating", 1))
    assert judge_many(db, ids, Change("rating", 1)) == 0
    assert judge_many(db, [], Change("rating", -1)) == judge_many(db, [999], Change("rating", -1)) == 0
    assert "3 replies" in curation.undo(db)
    assert curation.undo(db) == ""


def test_it_stands_in_line_with_other_acts(db: Database) -> None:
    first, *others = replies(db, 4)
    curation.rate(db, first, -1)
    judge_many(db, [first, *others], Change("rating", 1))
    curation.decide(db, others[0], "skip")
    for words in ("decision", "4 replies", "rating of message"):
        assert words in curation.undo(db)
    assert judged(db, [first, *others]) == [Judgement()] * 4
    judge_many(db, others, Change("decision", "keep"))  # forgets what was undone
    assert curation.redo(db) == ""


def test_what_is_deleted_leaves_the_act(db: Database) -> None:
    ids = replies(db, 3)
    judge_many(db, ids, Change("tag", "story"))
    db.conn.execute("DELETE FROM messages WHERE id = ?", (ids[0],))
    assert curation.undo(db) == "tag 'story' on 2 replies taken back"
    curation.redo(db)
    for one in ids[1:]:
        db.conn.execute("DELETE FROM messages WHERE id = ?", (one,))
    assert curation.undo(db) == "" and not select(db, "SELECT 1 FROM acts")


def test_only_so_many_rows_are_kept(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curation_many, "ROWS_KEPT", 10)
    ids = replies(db, 4)
    for rating in (1, -1, 1, -1):
        judge_many(db, ids, Change("rating", rating))
    assert select(db, "SELECT count(*) FROM acts_of_many") == [(8,)]
    undone = []
    while words := curation.undo(db):
        undone.append(words)
    assert len(undone) == 2 and judged(db, ids)[0].rating == -1
    judge_many(db, replies(db, 12), Change("rating", 1))  # more than is kept: it can be undone all the same
    assert "12 replies" in curation.undo(db)


@pytest.mark.parametrize(
    "change", [Change("rating", 5), Change("decision", "maybe"), Change("tag", " "), Change("tag", "a,b")]
)
def test_what_makes_no_sense_is_refused(db: Database, change: Change) -> None:
    with pytest.raises(StoreError):
        judge_many(db, replies(db, 1), change)


def test_progress_is_told_in_parts(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curation_many, "AT_ONCE", 4)
    told: list[Any] = []
    ids = replies(db, 10)
    judge_many(db, ids, Change("rating", 1), lambda *one: told.append(one))
    assert told == [(4, 10), (8, 10), (10, 10)]
    curation.undo(db, lambda *one: told.append(one))
    assert told[3:] == told[:3] and judged(db, ids) == [Judgement()] * 10


def test_the_tags_that_all_have(db: Database) -> None:
    ids = replies(db, 3)
    judge_many(db, ids, Change("tag", "story"))
    judge_many(db, ids[:2], Change("tag", "sea"))
    assert curation_many.tags_of_all(db, ids) == ["story"]
    assert curation_many.tags_of_all(db, ids[:2]) == ["sea", "story"]
    assert curation_many.differing(db, ids, Change("tag", "sea")) == 1


def test_a_tag_of_many_is_redacted_in_the_journal_too(db: Database) -> None:
    ids = replies(db, 2)
    judge_many(db, ids, Change("tag", "ann@example.org"))
    apply(db, [messages.get(db, one).conversation_id for one in ids], Redactor(db), whole=False)
    assert "ann@example.org" not in str(select(db, "SELECT before, after FROM acts"))


def test_a_hundred_thousand_are_one_act(db: Database) -> None:
    """Quick, as no row is touched from Python; the undo too."""
    with db.conn:
        db.conn.execute("INSERT INTO conversations (id, created_ms, updated_ms, model) VALUES (1, 0, 0, 'm')")
        db.conn.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            "INSERT INTO messages (id, conversation_id, role, content, created_ms, updated_ms, state) "
            "SELECT i, 1, 'assistant', 'a', 0, 0, 'complete' FROM n"
        )
    assert judge_many(db, range(1, 100_001), Change("rating", 1)) == 100_000
    assert curation.undo(db) == "rating good of 100,000 replies taken back"
    assert select(db, "SELECT count(*) FROM exchanges WHERE rating <> 0") == [(0,)]
