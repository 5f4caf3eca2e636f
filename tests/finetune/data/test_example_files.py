"""What a file teaches: which of its replies are learned, and what its judgements become."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from finetune.data.example_files import from_file, from_files
from finetune.data.select import Selection
from tests.assistant.store.files.rows.test_rows import PAIRS


def candidates(path: Path, wanted: Selection) -> list[Any]:
    return [one.example for one in from_file(path, wanted, Counter())]


def learned(path: Path, *rows: Any, everything: bool = False) -> list[list[str]]:
    """What is learned of each conversation of a file of these rows."""
    path.write_text("\n".join(map(json.dumps, rows)))
    found = candidates(path, Selection(everything=everything))
    return [[one.messages[place].content for place in sorted(one.trained)] for one in found]


def talk(*replies: dict[str, Any]) -> dict[str, Any]:
    """A conversation of these replies, each to a question of its own."""
    messages: list[dict[str, Any]] = []
    for number, reply in enumerate(replies):
        messages += [{"role": "user", "content": f"question {number} of {replies}"}, {"role": "assistant", **reply}]
    return {"messages": messages}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([talk({"content": "a"}, {"content": "b"})], [["a", "b"]]),
        ([talk({"content": "wrong", "weight": 0}, {"content": "right", "weight": 1})], [["right"]]),
        ([talk({"content": "wrong", "weight": 0}, {"content": "right"}), talk({"content": "c"})], [["right"], ["c"]]),
        ([talk({"content": "bad", "rating": -1}, {"content": "b"}), talk({"content": "c"})], [["b"], ["c"]]),
        ([talk({"content": "good", "rating": 1}, {"content": "b"}), talk({"content": "c"})], [["good"]]),
        ([talk({"content": "good", "rating": 1}, {"content": "b", "weight": 0})], [["good"]]),
        ([{**talk({"content": "a"}), "weight": 0}, talk({"content": "b"})], [["b"]]),
        ([talk({"content": "cut off", "finish_reason": "length"}, {"content": "b"})], [["b"]]),
        ([PAIRS["prompt and texts"]], [["The Ucayali."]]),
    ],
)
def test_what_is_learned_of_a_file(tmp_path: Path, rows: list[Any], expected: list[list[str]]) -> None:
    assert learned(tmp_path / "rows.jsonl", *rows) == expected


def test_a_reply_of_weight_0_is_read_as_context(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(talk({"content": "wrong", "weight": 0}, {"content": "right"})))
    (example,) = candidates(path, Selection())
    assert [one.content for one in example.messages][1::2] == ["wrong", "right"]
    assert example.trained == {3}


@pytest.mark.parametrize("name", PAIRS)
def test_every_shape_of_a_pair_is_a_preference(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(PAIRS[name]))
    (example,) = candidates(path, Selection("preference"))
    assert (example.messages[-1].content, example.rejected) == ("The Ucayali.", "The Danube.")
    system = ["S"] * ("system" in PAIRS[name])
    assert [one.content for one in example.messages[:-1]] == [*system, "Name a river in Peru."]


def test_thumbs_of_a_file_are_lessons(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"conversations": talk({"content": text})["messages"], "kto_tag": good}
        for text, good in (("a", True), ("b", False))
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [(one.messages[-1].content, one.good) for one in candidates(path, Selection("kto"))] == [
        ("a", True),
        ("b", False),
    ]


def test_a_folder_is_a_file_of_its_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps([talk({"content": name})]))
    assert [one.messages[-1].content for one in candidates(tmp_path, Selection())] == ["a", "b"]


def test_several_files_are_one_source(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for path in paths:
        path.write_text(json.dumps(talk({"content": path.stem})))
    left = Counter[str]()
    texts = [one.example.messages[-1].content for one in from_files([*paths, paths[0]], Selection(), left)]
    assert texts == ["a", "b"]
    assert left["conversations that are there twice"] == 1


def test_texts_of_several_files_are_asked_for_the_entities_of_all(tmp_path: Path) -> None:
    types = {"Oslo": "place", "Tuesday": "date"}
    for name, type_ in types.items():
        row = {"input": f"It is {name}.", "reference": {"entities": [{"text": name, "type": type_}]}}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    paths = [tmp_path / f"{name}.jsonl" for name in types]
    examples = [one.example for one in from_files(paths, Selection("entities"), Counter())]
    assert [one.entities for one in examples] == [((6, 10, "place"),), ((6, 13, "date"),)]
    assert {one.choices for one in examples} == {(("date",), ("place",))}
