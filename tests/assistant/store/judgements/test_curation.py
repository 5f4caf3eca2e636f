"""Curating acts, and the undoing of each."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, deletion, messages
from assistant.store.database import check
from assistant.store.judgements import curation
from assistant.store.judgements.curation import Judgement
from assistant.store.messages import Outcome, Provenance

MADE = Provenance("m", "plain", "hash", "text of it", {}, 1)


def ask(db: Database, text: str, *replies: str) -> list[int]:
    """The ids of a question in a conversation of its own and of the replies to it."""
    one = conversations.create(db, model="m").id
    ids = [messages.add_user(db, one, None, text)]
    for reply in replies:
        ids.append(messages.begin_reply(db, one, ids[0], MADE))
        messages.end_reply(db, ids[-1], reply, "complete", Outcome())
    return ids


def test_what_is_thought_of_a_reply(db: Database) -> None:
    user, reply = ask(db, "q", "a")
    assert curation.judgement(db, reply) == Judgement()
    curation.rate(db, reply, -1)
    curation.decide(db, reply, "skip")
    curation.note(db, reply, "rude")
    curation.tag(db, reply, " #故事 ")
    curation.tag(db, reply, "故事")
    curation.tag(db, user, "a  b")
    assert curation.judgement(db, reply) == Judgement(-1, "skip", "rude", ("故事",))
    assert curation.judgements_of(db, 1) == {
        user: Judgement(tags=("a b",)),
        reply: Judgement(-1, "skip", "rude", ("故事",)),
    }
    assert curation.all_tags(db) == {"a b": 1, "故事": 1}
    curation.untag(db, user, "a b")
    assert curation.tags_of(db, user) == []


ACTS: dict[str, Callable[[Database, int, int], Any]] = {
    "rating": lambda db, one, _: curation.rate(db, one, 1),
    "decision": lambda db, one, _: curation.decide(db, one, "keep"),
    "note": lambda db, one, _: curation.note(db, one, "n"),
    "tag": lambda db, one, _: curation.tag(db, one, "t"),
    "correction": lambda db, one, _: curation.correct(db, one, "better"),
    "vote": lambda db, one, other: curation.prefer(db, one, other, blind=True, chosen_first=False),
}


def everything(db: Database) -> object:
    tables = {
        "judgements": "message_id, rating, decision, note",
        "tags": "message_id, tag",
        "preferences": "id, chosen_id, rejected_id, tie, blind, created_ms, chosen_first",
        "messages": "id, parent_id, content, corrects_id",
        "conversations": "id, leaf_id",
    }
    rows = {table: db.conn.execute(f"SELECT {names} FROM {table}").fetchall() for table, names in tables.items()}
    rows["judgements"] = [row for row in rows["judgements"] if row[1:] != (0, "undecided", "")]
    return rows


@pytest.mark.parametrize("name", ACTS)
def test_every_act_is_undone_and_done_again(db: Database, name: str) -> None:
    _, one, other = ask(db, "q", "a", "b")
    before = everything(db)
    ACTS[name](db, one, other)
    after = everything(db)
    assert after != before
    assert name in curation.undo(db)
    assert everything(db) == before
    assert curation.undo(db) == ""
    assert name in curation.redo(db)
    assert everything(db) == after
    assert curation.redo(db) == ""
    assert check(db) == []


def test_acts_are_undone_from_the_last_and_a_new_one_forgets_the_undone(db: Database) -> None:
    _, one, other = ask(db, "q", "a", "b")
    for act in ACTS.values():
        act(db, one, other)
    while curation.undo(db):
        pass
    assert curation.judgement(db, one) == Judgement()
    curation.rate(db, one, -1)
    assert curation.redo(db) == ""
    assert curation.judgement(db, one).rating == -1


def test_what_changes_nothing_is_no_act(db: Database) -> None:
    _, one = ask(db, "q", "a")
    curation.rate(db, one, 0)
    curation.untag(db, one, "t")
    assert curation.undo(db) == ""


def test_a_correction_stands_beside_the_reply_and_is_open(db: Database) -> None:
    user, one = ask(db, "q", "a")
    correction = curation.correct(db, one, "better")
    row = messages.get(db, correction)
    assert (row.parent_id, row.role, row.content, row.corrects_id) == (user, "assistant", "better", one)
    assert conversations.get(db, 1).leaf_id == correction
    assert messages.get(db, one).content == "a"


def test_a_correction_that_was_answered_stays_when_it_is_undone(db: Database) -> None:
    _, one = ask(db, "q", "a")
    correction = curation.correct(db, one, "better")
    messages.add_user(db, 1, correction, "thanks")
    assert "answered" in curation.undo(db)
    assert messages.get(db, correction).corrects_id is None
    assert conversations.get(db, 1).leaf_id == one
    assert "put back" in curation.redo(db)
    assert messages.get(db, correction).corrects_id == one


def test_what_is_deleted_leaves_the_journal(db: Database) -> None:
    _, one = ask(db, "q", "a")
    curation.note(db, one, "SECRET")
    curation.correct(db, one, "SECRET")
    curation.undo(db)
    conversations.delete(db, 1)
    deletion.purge_hidden(db)
    for table in ("acts", "judgements", "tags", "preferences"):
        assert db[table].count == 0
    assert curation.undo(db) == ""
    assert curation.redo(db) == ""


def test_the_same_prompt_in_two_conversations_can_be_compared(db: Database) -> None:
    _, one = ask(db, "q", "a")
    _, other = ask(db, "q", "b")
    user, stranger = ask(db, "another", "c")
    curation.prefer(db, one, other, tie=True)
    vote = curation.preferences(db, other)[0]
    assert (vote.chosen_id, vote.rejected_id, vote.tie, vote.blind) == (one, other, True, False)
    assert vote.chosen_first is None
    for wrong in (one, stranger):
        with pytest.raises(StoreError, match="same prompt"):
            curation.prefer(db, one, wrong)
    with pytest.raises(StoreError, match="not a reply"):
        curation.prefer(db, one, user)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda db: curation.rate(db, 2, 5), "A rating is"),
        (lambda db: curation.rate(db, 1, 1), "not a reply"),
        (lambda db: curation.rate(db, 99, 1), "no message 99"),
        (lambda db: curation.decide(db, 2, "maybe"), "keep, skip"),
        (lambda db: curation.tag(db, 2, " # "), "A tag has"),
        (lambda db: curation.tag(db, 2, "a,b"), "no comma"),
        (lambda db: curation.correct(db, 2, " \n"), "needs a text"),
        (lambda db: curation.correct(db, 1, "x"), "not a reply"),
    ],
)
def test_what_makes_no_sense_is_refused(db: Database, act: Callable[[Database], Any], told: str) -> None:
    ask(db, "q", "a")
    with pytest.raises(StoreError, match=told):
        act(db)
    assert curation.undo(db) == ""


def test_a_reply_that_grows_is_not_judged(db: Database) -> None:
    one = conversations.create(db).id
    reply = messages.begin_reply(db, one, None, MADE)
    with pytest.raises(StoreError, match="still being written"):
        curation.rate(db, reply, 1)


def test_the_journal_does_not_grow_for_ever(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curation, "ACTS_KEPT", 3)
    _, one = ask(db, "q", "a")
    for number in range(10):
        curation.note(db, one, str(number))
    assert db["acts"].count == 3
