"""The tree of a conversation as lines."""

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import branches, conversations, messages
from tests.assistant.store.judgements.test_curation import MADE


def drawn(db: Database, conversation: int) -> list[str]:
    """One line a message: a dot for each step away from the open path, + where a branch begins, * where it is open."""
    return [
        "." * node.depth + ("+" if node.begins else "") + node.head + ("*" if node.on_open_path else "")
        for node in branches.tree(db, conversation)
    ]


@pytest.fixture
def talk(db: Database) -> dict[str, int]:
    """A question with three answers; the first went on and was edited, the second is open."""
    one = conversations.create(db, model="m").id
    ids = {"q": messages.add_user(db, one, None, "q")}
    for name in ("a", "b", "c"):
        ids[name] = messages.begin_reply(db, one, ids["q"], MADE)
        messages.end_reply(db, ids[name], name, "complete", messages.Outcome())
    ids["more"] = messages.add_user(db, one, ids["a"], "more")
    ids["edited"] = messages.add_user(db, one, ids["a"], "edited")
    ids["thanks"] = messages.add_user(db, one, ids["b"], "thanks")
    return ids


def test_the_open_path_goes_straight_down(db: Database, talk: dict[str, int]) -> None:
    assert drawn(db, 1) == ["q*", ".+a", "..+more", ".edited", ".+c", "b*", "thanks*"]
    messages.open_leaf(db, 1, talk["more"])
    assert drawn(db, 1) == ["q*", ".+b", ".thanks", ".+c", "a*", ".+edited", "more*"]


@pytest.mark.usefixtures("talk")
def test_an_edited_first_message_is_a_branch(db: Database) -> None:
    messages.add_user(db, 1, None, "q2")
    assert drawn(db, 1) == [".+q", "..+a", "...+more", "..edited", "..+b", "..thanks", ".c", "q2*"]


def test_only_the_first_words_are_read_unless_it_begins_with_reasoning(db: Database, talk: dict[str, int]) -> None:
    messages.add_user(db, 1, talk["thanks"], "x" * 5_000)
    thought = messages.begin_reply(db, 1, talk["thanks"], MADE)
    messages.end_reply(db, thought, f"<think>{'x' * 500}</think>Yes.", "complete", messages.Outcome())
    heads = {node.id: node.head for node in branches.tree(db, 1)}
    assert heads[thought].endswith("Yes.")
    assert max(len(head) for one, head in heads.items() if one != thought) == branches.HEAD_CHARACTERS


def test_a_conversation_without_messages_is_an_empty_tree(db: Database) -> None:
    assert branches.tree(db, conversations.create(db).id) == []
    with pytest.raises(StoreError, match="no conversation"):
        branches.tree(db, 99)


def test_every_message_of_a_deep_and_wide_conversation_comes_once(db: Database) -> None:
    one, parent = conversations.create(db).id, None
    for number in range(3_000):
        parent = messages.add_user(db, one, parent, str(number))
        if number % 100 == 0:
            messages.add_user(db, one, parent, "beside")
    nodes = branches.tree(db, one)
    assert sorted(node.id for node in nodes) == sorted(row.id for row in messages.all_of(db, one))
