"""Doubles found, in English and Chinese, and one of them chosen."""

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, deletion, messages
from assistant.store.judgements import curation, curation_queue, doubles
from assistant.store.judgements.doubles import Group
from assistant.store.search.filter import Filter
from tests.assistant.store.judgements.test_curation import ask

LONG = (
    "The lighthouse keeper climbed the stairs every evening, lit the lamp, and wrote in his book which ships had passed"
)
CHINESE = "灯塔的守护者每天晚上爬上楼梯，点亮灯，并在他的书里写下哪些船经过了这里，然后回家睡觉。"


def groups(db: Database, *, near: bool = True, filter_: Filter | None = None) -> list[Group]:
    doubles.find(db, filter_ or Filter(), near=near)
    return doubles.groups(db)


def test_the_same_twice(db: Database) -> None:
    first, second, _ = (ask(db, "Why?", reply)[1] for reply in ("Because.", "Because.", "Because"))
    ask(db, "Why not?", "Because.")
    assert groups(db, near=False) == [Group((first, second), True)]


@pytest.mark.parametrize(
    ("one", "other"),
    [(LONG, LONG.replace("evening", "night").upper() + "!"), (CHINESE, CHINESE.replace("回家", "下去"))],
)
def test_almost_the_same(db: Database, one: str, other: str) -> None:
    first, second = (ask(db, "Tell me", text)[1] for text in (one, other))
    ask(db, "Tell me", one[: len(one) // 2])
    assert groups(db, near=False) == []
    assert groups(db) == [Group((first, second), False)]


def test_a_copy_of_a_near_one_is_in_its_group(db: Database) -> None:
    near = LONG.replace("book", "diary")
    ids = [
        ask(db, "Tell me", text)[1] for text in (LONG, near, near, LONG, "something else that nobody has said before")
    ]
    assert groups(db) == [Group(tuple(ids[:4]), False)]
    assert groups(db, near=False) == [Group((ids[0], ids[3]), True), Group((ids[1], ids[2]), True)]


def test_across_batches(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubles, "READ_AT_ONCE", 2)
    other = LONG.replace("ships", "boats")
    ids = [ask(db, "Tell me", text)[1] for text in (LONG, "a b c d", "e f g h", other, "i j k l", LONG)]
    assert groups(db) == [Group((ids[0], ids[3], ids[5]), False)]


def test_many_alike_are_one_group(db: Database) -> None:
    ids = [ask(db, "Tell me", f"{LONG} number {number}")[1] for number in range(60)]
    assert groups(db) == [Group(tuple(ids), False)]


def test_only_what_passes(db: Database) -> None:
    _, first = ask(db, "q", "a")
    _, second = ask(db, "q", "a")
    curation.rate(db, first, 1)
    assert groups(db, filter_=Filter(rating="good")) == []
    assert groups(db) == [Group((first, second), True)]


def test_one_is_kept_the_others_skipped_and_all_can_be_undone(db: Database) -> None:
    ids = [ask(db, "q", "a")[1] for _ in range(3)]
    (group,) = groups(db)
    assert [one.message_id for one in curation_queue.doubles_up_next(db)] == ids
    assert doubles.choose(db, group, ids[1]) == 3
    assert [curation.judgement(db, one).decision for one in ids] == ["skip", "keep", "skip"]
    assert curation_queue.doubles_up_next(db) == []
    assert doubles.choose(db, group, ids[1]) == 0
    for _ in ids:
        curation.undo(db)
    assert [curation.judgement(db, one).decision for one in ids] == ["undecided"] * 3
    with pytest.raises(StoreError, match="none of"):
        doubles.choose(db, group, 99)
    with pytest.raises(StoreError, match="no double"):
        doubles.group_of(db, 99)


def test_what_is_deleted_is_in_no_group(db: Database) -> None:
    ids = [ask(db, "q", "a")[1] for _ in range(3)]
    assert groups(db)
    conversations.delete(db, messages.get(db, ids[0]).conversation_id)
    assert doubles.groups(db) == [Group((ids[1], ids[2]), True)]
    deletion.delete_message(db, ids[1])
    assert doubles.groups(db) == []


def test_nothing_at_all(db: Database) -> None:
    ask(db, "", "")
    assert groups(db) == []
