"""A sound tree out of whatever a file says."""

import pytest

from assistant.store.files.imports.settle import settle
from assistant.store.files.transcript import THOUGHT, Transcript, Turn


def shape(turns: list[Turn], leaf: str | None = None) -> tuple[list[tuple[str, str | None, str]], Transcript]:
    """(key, parent, content) of what is kept, and all of it."""
    settled = settle(Transcript("t", turns, leaf=leaf), 1_000_000)
    return [(turn.key, turn.parent, turn.content) for turn in settled.turns], settled


def test_branches_stay_and_the_open_path_is_the_files() -> None:
    turns = [
        Turn("q", None, "user", "Q", 1000),
        Turn("a", "q", "assistant", "A", 2000),
        Turn("b", "q", "assistant", "B", 3000),
    ]
    kept, settled = shape(turns, leaf="a")
    assert kept == [("q", None, "Q"), ("a", "q", "A"), ("b", "q", "B")]
    assert settled.leaf == "a"
    assert shape(turns)[1].leaf == "b"
    assert not settled.left


def test_what_cannot_be_held_is_passed_over_and_counted() -> None:
    turns = [
        Turn("s", None, "system", "Be brief."),
        Turn("q", "s", "user", "Q"),
        Turn("t", "q", THOUGHT, "Hm."),
        Turn("c", "t", "tool call", "print(1)"),
        Turn("r", "c", "tool", "1"),
        Turn("e", "r", "assistant", "  "),
        Turn("a", "e", "assistant", "A"),
    ]
    kept, settled = shape(turns, leaf="r")
    assert kept == [("q", None, "Q"), ("a", "q", "<think>\nHm.\n</think>\n\nA")]
    assert settled.system == "Be brief."
    assert settled.leaf == "q"
    assert settled.left == {
        "system messages kept with their conversation": 1,
        "thoughts put before their reply": 1,
        "tool call messages left out": 1,
        "tool messages left out": 1,
        "empty messages passed over": 1,
    }


def test_a_lone_answer_of_the_same_side_is_joined() -> None:
    turns = [Turn("1", None, "user", "a"), Turn("2", "1", "user", "b"), Turn("3", "2", "assistant", "c")]
    kept, settled = shape(turns, leaf="2")
    assert kept == [("1", None, "a\n\nb"), ("3", "1", "c")]
    assert settled.leaf == "1"
    assert settled.left == {"messages joined to one of the same side": 1}


def test_siblings_of_the_same_side_are_not_joined() -> None:
    turns = [Turn("1", None, "user", "a"), Turn("2", "1", "user", "b"), Turn("3", "1", "user", "c")]
    assert [parent for _, parent, _ in shape(turns)[0]] == [None, "1", "1"]


@pytest.mark.parametrize(
    ("parents", "expected", "counted"),
    [
        ({"a": "gone", "b": "a"}, {"a": None, "b": "a"}, "messages whose parent is missing"),
        ({"a": "b", "b": "a"}, {"a": None, "b": "a"}, "circles of messages cut open"),
        ({"a": "a", "b": "a"}, {"a": None, "b": "a"}, "circles of messages cut open"),
        ({"b": "a", "a": None}, {"a": None, "b": "a"}, ""),
    ],
)
def test_any_parents_make_a_tree(parents: dict[str, str | None], expected: dict[str, str | None], counted: str) -> None:
    turns = [Turn(key, parent, "user" if key == "a" else "assistant", key) for key, parent in parents.items()]
    kept, settled = shape(turns)
    assert {key: parent for key, parent, _ in kept} == expected
    assert [key for key, _, _ in kept] == ["a", "b"]
    assert list(settled.left) == ([counted] if counted else [])


def test_a_long_chain_in_the_wrong_order_is_no_trouble() -> None:
    count = 20_000
    turns = [
        Turn(str(n), str(n - 1) if n else None, "assistant" if n % 2 else "user", "x") for n in reversed(range(count))
    ]
    kept, _ = shape(turns)
    assert [key for key, _, _ in kept] == [str(n) for n in range(count)]


def test_a_key_of_two_is_told_apart() -> None:
    kept, settled = shape([Turn("a", None, "user", "1"), Turn("a", None, "user", "2")])
    assert [content for _, _, content in kept] == ["1", "2"]
    assert len({key for key, _, _ in kept}) == 2
    assert settled.left == {"messages of a name that another one had": 1}


def test_missing_times_are_taken_from_above() -> None:
    turns = [Turn("1", None, "user", "a", 5000), Turn("2", "1", "assistant", "b"), Turn("3", "2", "user", "c", 4000)]
    settled = shape(turns)[1]
    assert [turn.created_ms for turn in settled.turns] == [5000, 5000, 4000]
    assert (settled.created_ms, settled.updated_ms) == (4000, 5000)
    assert shape([Turn("1", None, "user", "a")])[1].created_ms == 1_000_000


def test_halves_of_characters_are_replaced_and_counted() -> None:
    kept, settled = shape([Turn("1", None, "user", "\ud83d half"), Turn("2", "1", "assistant", "\ud83d\ude00")])
    assert [content for _, _, content in kept] == ["\ufffd half", "\U0001f600"]
    assert sum(settled.left.values()) == 2
