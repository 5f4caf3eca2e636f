"""The list of exchanges: filled, filtered, sorted and paged."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, messages
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from assistant.store.schema import derived
from assistant.store.search import exchanges
from assistant.store.search.exchanges import Exchange
from assistant.store.search.filter import COLUMNS, Filter, Sort
from tests.assistant.store.judgements.test_curation import ask


def reply(db: Database, text: str = "a", *, model: str = "m", adapter: str = "", surprise: float | None = 1.0) -> int:
    one = conversations.create(db).id
    user = messages.add_user(db, one, None, f"about {text}")
    made = Provenance(model, "plain", "hash", "text", {}, 1, adapter)
    row = messages.begin_reply(db, one, user, made)
    logprobs = [] if surprise is None else [-surprise] * 2
    messages.end_reply(db, row, text, "complete", Outcome(completion_tokens=len(text), logprobs=logprobs))
    return row


def ids(found: list[Exchange]) -> list[int]:
    return [one.message_id for one in found]


def test_an_exchange_has_all_that_is_known_of_it(db: Database) -> None:
    one = reply(db, "hello", adapter="abc", surprise=0.5)
    conversations.rename(db, 1, "Greeting")
    curation.rate(db, one, 1)
    curation.tag(db, one, "b")
    curation.tag(db, one, "a c")
    found = exchanges.page(db)[0]
    created = messages.get(db, one).created_ms
    assert found == Exchange(
        one, 1, 1, created, "m", "abc", "plain", 1, "undecided", ("a c", "b"), 5, 0.5, 5, None, "Greeting",
        "about hello", "hello",
    )  # fmt: skip
    assert exchanges.count(db) == 1


def test_a_growing_reply_is_not_listed(db: Database) -> None:
    one = reply(db)
    messages.resume_reply(db, one)
    assert exchanges.page(db) == []
    messages.end_reply(db, one, "b", "stopped", Outcome())
    assert exchanges.page(db)[0].reply == "b"
    conversations.delete(db, 1)
    assert exchanges.page(db) == []
    assert exchanges.count(db) == 0
    conversations.restore(db, 1)
    assert exchanges.count(db) == 1


@pytest.fixture
def mixed(db: Database) -> list[int]:
    rows = [
        reply(db, "a" * 10, model="x", surprise=2.0),
        reply(db, "b" * 20, model="y", surprise=None),
        reply(db, "c" * 30, model="x", adapter="abc", surprise=1.0),
    ]
    curation.rate(db, rows[0], 1)
    curation.rate(db, rows[1], -1)
    curation.decide(db, rows[1], "keep")
    curation.tag(db, rows[0], "t")
    curation.tag(db, rows[0], "u")
    curation.tag(db, rows[2], "t")
    for number, row in enumerate(rows):
        db.conn.execute("UPDATE messages SET created_ms = ? WHERE id = ?", (1000 * number, row))
    db.conn.execute("UPDATE messages SET source_id = '0' WHERE id IN (?, ?)", rows[1:])  # the first restored: no source
    db.conn.execute("UPDATE conversations SET source = 'chatgpt' WHERE id = 3")
    derived.rebuild(db)
    return rows


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2]),
    ({"since_ms": 1000}, [1, 2]),
    ({"until_ms": 1000}, [0]),
    ({"conversation": 2}, [1]),
    ({"model": "x"}, [0, 2]),
    ({"adapter": ""}, [0, 1]),
    ({"adapter": "abc"}, [2]),
    ({"template": "plain"}, [0, 1, 2]),
    ({"template": "other"}, []),
    ({"rating": "good"}, [0]),
    ({"rating": "bad"}, [1]),
    ({"rating": "rated"}, [0, 1]),
    ({"rating": "unrated"}, [2]),
    ({"decision": "keep"}, [1]),
    ({"decision": "undecided"}, [0, 2]),
    ({"tags": ("t",)}, [0, 2]),
    ({"tags": ("t", "u")}, [0]),
    ({"judged": True}, [0, 1]),
    ({"judged": False}, [2]),
    ({"corrected": False}, [0, 1, 2]),
    ({"corrected": True}, []),
    ({"imported": True}, [2]),
    ({"imported": False}, [0, 1]),
    ({"min_tokens": 20}, [1, 2]),
    ({"max_tokens": 10}, [0]),
    ({"min_surprise": 1.5}, [0]),
    ({"max_surprise": 1.5}, [2]),
    ({"min_surprise": 0.5, "max_surprise": 3.0, "model": "x", "tags": ("t",), "rating": "unrated"}, [2]),
    ({"min_length": 11, "max_length": 29}, [1]),
    ({"min_length": -(10**30), "max_tokens": 10**30}, [0, 1, 2]),
]


@pytest.mark.parametrize(("given_", "passing"), FILTERS)
@pytest.mark.parametrize("few", [30_000, 0])
def test_filters(
    db: Database,
    mixed: list[int],
    monkeypatch: pytest.MonkeyPatch,
    given_: dict[str, Any],
    passing: list[int],
    few: int,
) -> None:
    monkeypatch.setattr(exchanges, "FEW", few)  # gathered, and walked
    filter_ = Filter(**given_)
    assert ids(exchanges.page(db, filter_, descending=False)) == [mixed[one] for one in passing]
    assert exchanges.count(db, filter_) == len(passing)
    assert exchanges.count(db, filter_, at_most=1) == min(1, len(passing))


def test_every_filter_is_under_test() -> None:
    assert {name for given_, _ in FILTERS for name in given_} == {field.name for field in fields(Filter)}


def test_a_correction_makes_its_reply_corrected_and_judged(db: Database, mixed: list[int]) -> None:
    curation.correct(db, mixed[2], "better")
    assert ids(exchanges.page(db, Filter(corrected=True))) == [mixed[2]]
    assert exchanges.count(db, Filter(judged=False)) == 0
    curation.undo(db)
    assert ids(exchanges.page(db, Filter(judged=False))) == [mixed[2]]


@pytest.mark.parametrize("filter_", [Filter(rating="great"), Filter(decision="maybe")])
def test_what_there_is_not_to_filter_by_is_told(db: Database, filter_: Filter) -> None:
    with pytest.raises(StoreError, match="filter by"):
        exchanges.page(db, filter_)


@pytest.mark.parametrize("sort", COLUMNS)
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("few", [30_000, 0])
def test_pages_by_offset_and_by_place_are_the_whole_list(
    db: Database, monkeypatch: pytest.MonkeyPatch, sort: Sort, descending: bool, few: int
) -> None:
    monkeypatch.setattr(exchanges, "FEW", few)
    for number in range(12):
        one = reply(db, "x" * (number % 4), model=f"m{number % 3}", surprise=None if number % 5 == 0 else number % 4)
        curation.rate(db, one, number % 3 - 1)
        if number % 2:
            curation.tag(db, one, "t")
    whole = exchanges.page(db, sort=sort, descending=descending)
    values = [(getattr(one, exchanges.ATTRIBUTES[sort]), one.message_id) for one in whole]
    known = [(-1.0 if value is None else value, row) for value, row in values]
    assert known == sorted(known, reverse=descending)
    assert len(whole) == 12
    by_offset = [
        one
        for offset in range(0, 15, 5)
        for one in exchanges.page(db, sort=sort, descending=descending, limit=5, offset=offset)
    ]
    assert by_offset == whole
    by_place: list[Exchange] = []
    while more := exchanges.page(
        db, sort=sort, descending=descending, limit=5, after=by_place[-1] if by_place else None
    ):
        by_place += more
    assert by_place == whole


@pytest.mark.usefixtures("mixed")
def test_values_for_a_menu(db: Database) -> None:
    assert exchanges.values_of(db, "model") == ["x", "y"]
    assert exchanges.values_of(db, "adapter") == ["", "abc"]


ACTIONS = ["say", "edit", "again", "resume", "end", "correct", "rate", "decide", "tag", "untag", "note", "prefer"]
ACTIONS += ["undo", "redo", "open", "hide", "restore", "delete", "delete message", "interrupt", "fork"]
WORDS = ["whale", "鲸鱼 灯塔", "a\0b", "Café", "\ud83d", "x" * 300, ""]


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 50)), max_size=40))
@example([("correct", 1), ("delete", 0)])  # the correction outlives for a moment what it corrects
@settings(max_examples=150, deadline=None)
def test_any_sequence_keeps_tree_exchanges_and_index_sound(steps: list[tuple[str, int]]) -> None:
    from assistant.store.database import check, open_memory

    db = open_memory()
    ask(db, "q", "a", "b")
    for action, number in steps:
        act(db, action, number)
    assert check(db) == []
    assert derived.troubles(db) == []
    assert indexed(db) == indexed_anew(db)
    for conversation in conversations.page(db, 0, -1):
        rows = messages.all_of(db, conversation.id)
        assert (conversation.leaf_id is None) == (not rows)
        by_id = {row.id: row for row in rows}
        assert conversation.leaf_id is None or conversation.leaf_id in by_id
        for row in rows:
            assert row.parent_id is None or row.parent_id < row.id
            assert row.parent_id is None or row.parent_id in by_id
            assert row.corrects_id is None or by_id[row.corrects_id].parent_id == row.parent_id
    while curation.undo(db):
        pass
    assert db.conn.execute("SELECT count(*) FROM exchanges WHERE rating <> 0 OR tags <> ''").fetchone() == (0,)
    assert derived.troubles(db) == []
    db.close()


def act(db: Database, action: str, number: int) -> None:
    """One thing a person may do, with whatever message `number` leads to."""
    from assistant.store import deletion, forking

    rows = db.conn.execute("SELECT id, conversation_id, parent_id, role, state FROM messages ORDER BY id").fetchall()
    text = WORDS[number % len(WORDS)]
    if not rows:
        ask(db, text, text)
        return
    one, conversation, parent, role, state = rows[number % len(rows)]
    ended = role == "assistant" and state != "growing"
    others = [
        row[0] for row in rows if row[1:4] == (conversation, parent, role) and row[0] != one and row[4] != "growing"
    ]
    match action:
        case "say":
            messages.add_user(db, conversation, one, text)
        case "edit":
            messages.add_user(db, conversation, parent, text)
        case "again":
            made = Provenance(f"m{number % 3}", "plain", f"hash{number % 2}", "text", {}, 1)
            messages.begin_reply(db, conversation, one if role == "user" else parent, made)
        case "resume" if ended:
            messages.resume_reply(db, one)
            messages.grow_reply(db, one, text)
        case "end" if role == "assistant":
            messages.end_reply(db, one, text, "complete", Outcome(completion_tokens=3, logprobs=[-float(number)]))
        case "correct" if ended and text.strip():
            curation.correct(db, one, text)
        case "rate" if ended:
            curation.rate(db, one, number % 3 - 1)
        case "decide" if ended:
            curation.decide(db, one, ("keep", "skip", "undecided")[number % 3])  # type: ignore[arg-type]
        case "tag":
            curation.tag(db, one, ("a", "b", "旅行")[number % 3])
        case "untag":
            curation.untag(db, one, ("a", "b", "旅行")[number % 3])
        case "note":
            curation.note(db, one, text)
        case "prefer" if ended and others:
            curation.prefer(db, one, others[0], tie=bool(number % 2))
        case "undo":
            curation.undo(db)
        case "redo":
            curation.redo(db)
        case "open":
            messages.open_leaf(db, conversation, messages.newest_leaf(db, one))
        case "hide":
            conversations.delete(db, conversation)
        case "restore":
            conversations.restore(db, conversation)
        case "delete" if number % 5 == 0:
            deletion.delete_conversations(db, [conversation])
        case "delete message":
            deletion.delete_message(db, one)
        case "fork":
            forking.fork(db, one)
        case "interrupt":
            db.conn.execute("UPDATE messages SET updated_ms = 0 WHERE state = 'growing'")
            messages.mark_interrupted(db)


def indexed(db: Database) -> list[Any]:
    """Every word of the index with its message and place."""
    db.conn.execute("CREATE VIRTUAL TABLE temp.words_now USING fts5vocab('main', 'messages_words', 'instance')")
    found = db.conn.execute("SELECT term, doc, offset FROM temp.words_now ORDER BY 1, 2, 3").fetchall()
    db.conn.execute("DROP TABLE temp.words_now")
    return found


def indexed_anew(db: Database) -> list[Any]:
    """The same, of an index made from the texts as they are."""
    derived.rebuild(db)
    return indexed(db)
