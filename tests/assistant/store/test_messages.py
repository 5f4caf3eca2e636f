"""The tree of messages, and replies that grow."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, messages
from assistant.store.database import check, open_memory
from assistant.store.files.exports import export
from assistant.store.messages import Outcome, Provenance

MADE = Provenance("m", "plain", "hash", "text of it", {"temperature": 0.5}, 42)


@pytest.fixture
def conversation(db: Database) -> int:
    return conversations.create(db, model="m").id


def test_a_reply_grows_and_ends(db: Database, conversation: int) -> None:
    user = messages.add_user(db, conversation, None, "hi")
    reply = messages.begin_reply(db, conversation, user, MADE)
    assert messages.get(db, reply).state == "growing"
    messages.grow_reply(db, reply, "hel")
    assert messages.get(db, reply).content == "hel"
    outcome = Outcome("sha", 10, 4, 2, 1, 8192, 0.5, 0.1, 0.3, "stop", "cpu", [5, 7], [-0.5, -0.25])
    messages.end_reply(db, reply, "hello", "complete", outcome)
    assert messages.get(db, reply).state == "complete"
    info = messages.reply_info(db, reply)
    assert info.provenance == MADE
    assert info.outcome == outcome
    assert conversations.get(db, conversation).leaf_id == reply


def test_siblings_and_branches(db: Database, conversation: int) -> None:
    first = messages.add_user(db, conversation, None, "a")
    answer = messages.begin_reply(db, conversation, first, MADE)
    other = messages.begin_reply(db, conversation, first, MADE)
    deep = messages.add_user(db, conversation, answer, "b")
    edited = messages.add_user(db, conversation, None, "a2")
    assert messages.siblings(db, first) == [first, edited]
    assert messages.siblings(db, other) == [answer, other]
    assert [(row.id, at, of) for row, at, of in messages.path_with_siblings(db, deep)] == [
        (first, 1, 2),
        (answer, 1, 2),
        (deep, 1, 1),
    ]
    assert messages.newest_leaf(db, first) == other
    assert messages.newest_leaf(db, answer) == deep
    assert messages.newest_leaf(db, edited) == edited
    messages.open_leaf(db, conversation, deep)
    assert conversations.get(db, conversation).leaf_id == deep


def test_siblings_at_the_root_stay_within_their_conversation(db: Database, conversation: int) -> None:
    one = messages.add_user(db, conversation, None, "a")
    other = conversations.create(db).id
    messages.add_user(db, other, None, "b")
    assert messages.siblings(db, one) == [one]


@pytest.mark.parametrize("text", ["\ud83d half", "a\0b", "\x1b[31m", "你好 👋", "", "x" * 1_000_000])
def test_any_text_can_be_stored(db: Database, conversation: int, text: str) -> None:
    row = messages.get(db, messages.add_user(db, conversation, None, text))
    assert row.content == text.replace("\ud83d", "\ufffd")


def test_only_replies_that_lost_their_writer_are_interrupted(db: Database, conversation: int) -> None:
    alive = messages.begin_reply(db, conversation, None, MADE)
    lost = messages.begin_reply(db, conversation, None, MADE)
    messages.grow_reply(db, lost, "so far")
    db.conn.execute("UPDATE messages SET updated_ms = updated_ms - 60000 WHERE id = ?", (lost,))
    assert messages.mark_interrupted(db) == 1
    row = messages.get(db, lost)
    assert (row.state, row.content) == ("interrupted", "so far")
    assert row.error
    assert messages.get(db, alive).state == "growing"


def test_what_is_not_there_is_told(db: Database, conversation: int) -> None:
    with pytest.raises(StoreError, match="no message 99"):
        messages.get(db, 99)
    user = messages.add_user(db, conversation, None, "hi")
    with pytest.raises(StoreError, match="not a reply"):
        messages.reply_info(db, user)
    other = conversations.create(db).id
    with pytest.raises(StoreError, match="another conversation"):
        messages.add_user(db, other, user, "x")


def test_export_has_the_whole_tree_and_the_open_path(db: Database, conversation: int) -> None:
    user = messages.add_user(db, conversation, None, "Hello?")
    for text in ("one", "two"):
        reply = messages.begin_reply(db, conversation, user, MADE)
        messages.end_reply(db, reply, text, "complete", Outcome(logprobs=[-1.0], token_ids=[3]))
    whole = export.as_json(db, conversation)
    assert [row["content"] for row in whole["messages"]] == ["Hello?", "one", "two"]
    assert whole["messages"][1]["reply"]["provenance"]["template_text"] == "text of it"
    shown = export.as_markdown(db, conversation)
    assert "two" in shown
    assert "one" not in shown


actions = st.lists(
    st.tuples(st.sampled_from(["say", "edit", "again", "open", "delete", "restore"]), st.integers(0, 30))
)


@given(actions)
@settings(max_examples=60, deadline=None)
def test_any_sequence_keeps_the_tree_sound(steps: list[tuple[str, int]]) -> None:
    db = open_memory()
    one = conversations.create(db).id
    ids: list[int] = []
    for action, number in steps:
        chosen: Any = messages.get(db, ids[number % len(ids)]) if ids else None
        match action:
            case "say":
                ids.append(messages.add_user(db, one, chosen and chosen.id, "s"))
            case "edit" if chosen:
                ids.append(messages.add_user(db, one, chosen.parent_id, "e"))
            case "again" if chosen:
                ids.append(messages.begin_reply(db, one, chosen.parent_id, MADE))
            case "open" if chosen:
                messages.open_leaf(db, one, messages.newest_leaf(db, chosen.id))
            case "delete":
                conversations.delete(db, one)
            case "restore":
                conversations.restore(db, one)
    assert check(db) == []
    leaf = conversations.get(db, one).leaf_id
    assert (leaf is None) == (not ids)
    for identity in ids:
        path = messages.path(db, identity)
        assert path[0].parent_id is None
        assert [row.parent_id for row in path[1:]] == [row.id for row in path[:-1]]
        assert identity in messages.siblings(db, identity)
    db.close()
