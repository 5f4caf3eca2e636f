import time

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, deletion, messages
from assistant.store.conversations import title_of


def titles(db: Database, search: str = "") -> list[str]:
    return [one.title for one in conversations.page(db, 0, 100, search)]


def add(db: Database, title: str) -> int:
    one = conversations.create(db, model="m").id
    conversations.rename(db, one, title)
    return one


def test_the_list_has_pinned_ones_first_then_the_newest(db: Database) -> None:
    first, second, _third = add(db, "first"), add(db, "second"), add(db, "third")
    time.sleep(0.002)  # the list is ordered by milliseconds
    messages.add_user(db, first, None, "again")
    conversations.pin(db, second, True)
    assert titles(db) == ["second", "first", "third"]
    assert [one.title for one in conversations.page(db, 1, 1)] == ["first"]
    assert conversations.count(db) == 3


@pytest.mark.parametrize(("search", "found"), [("旅行", ["旅行计划"]), ("100%", ["100% sure"]), ("a_b", []), ("", 3)])
def test_search_takes_its_text_as_it_is(db: Database, search: str, found: object) -> None:
    for title in ("旅行计划", "100% sure", "axb"):
        add(db, title)
    assert (len(titles(db, search)) if isinstance(found, int) else titles(db, search)) == found
    assert conversations.count(db, search) == len(titles(db, search))


def test_delete_can_be_undone_until_it_is_purged(db: Database) -> None:
    one = add(db, "secret")
    messages.add_user(db, one, None, "a secret")
    conversations.delete(db, one)
    assert titles(db) == []
    assert conversations.latest(db) is None
    conversations.restore(db, one)
    assert titles(db) == ["secret"]
    conversations.delete(db, one)
    assert deletion.purge_hidden(db, older_than_ms=60_000) == 0
    assert deletion.purge_hidden(db) == 1
    assert db["messages"].count == 0
    with pytest.raises(StoreError, match="no conversation"):
        conversations.get(db, one)


def test_what_is_purged_leaves_no_bytes(db: Database) -> None:
    one = add(db, "x")
    messages.add_user(db, one, None, "UNMISTAKABLE" * 500)
    conversations.delete(db, one)
    deletion.purge_hidden(db)
    db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = db.conn.execute("PRAGMA database_list").fetchone()[2]
    with open(path, "rb") as file:  # noqa: PTH123
        assert b"UNMISTAKABLE" not in file.read()


def test_a_title_of_ones_own_stays(db: Database) -> None:
    one = conversations.create(db).id
    conversations.title_from(db, one, "What is a lighthouse? I wonder.")
    assert conversations.get(db, one).title == "What is a lighthouse?"
    conversations.rename(db, one, "  Light \n houses ")
    conversations.title_from(db, one, "Something else")
    assert conversations.get(db, one).title == "Light houses"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("", ""),
        ("\n\n# Plan for today\nmore", "Plan for today"),
        ("你好。请介绍一下北京。", "你好"),
        ("word " * 30, "word word word word word word word word word word word word…"),
        ("字" * 100, "字" * 60 + "…"),
        ("Version 1.2 is out", "Version 1.2 is out"),
    ],
)
def test_title_of(text: str, title: str) -> None:
    assert title_of(text) == title


def test_settings_of_a_conversation(db: Database) -> None:
    one = conversations.create(db, model="a", inputs={"x": "旅"}, sampling={"top_k": 3}).id
    conversations.configure(db, one, template="tutor", sampling={"temperature": 0.5})
    got = conversations.get(db, one)
    assert (got.model, got.template, got.inputs, got.sampling) == ("a", "tutor", {"x": "旅"}, {"temperature": 0.5})


def test_drafts_and_small_facts(db: Database) -> None:
    one = conversations.create(db).id
    conversations.set_draft(db, one, "half a \ud83d sentence\n")
    conversations.set_draft(db, None, "not begun")
    conversations.remember(db, "model", "m")
    assert conversations.get_draft(db, one) == "half a \ufffd sentence\n"
    assert conversations.get_draft(db, None) == "not begun"
    assert conversations.recall(db, "model") == "m"
    assert conversations.recall(db, "none") == ""
