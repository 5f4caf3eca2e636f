"""JSON as a stream, and what becomes of what isn't."""

import io
import json
from typing import Any

import pytest

from assistant.errors import ImportRefused
from assistant.store.files.values import json_values
from assistant.store.files.values.json_values import Broken, BrokeOff, values


def read(text: str) -> list[Any]:
    return ["broken" if isinstance(value, Broken) else value for _, value in values(io.StringIO(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1}, {"b": [2]}]', [{"a": 1}, {"b": [2]}]),
        ('{"a": 1}\n\n{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        ('{\n "a": 1\n}\n{"b": 2}', [{"a": 1}, {"b": 2}]),
        ("[]", []),
        (" [ 1 , 2 , ] ", [1, 2]),
        ('["\\ud83d", "a\\u0000b"]', ["\ud83d", "a\0b"]),
        ('{"a": 1}\n{"a": \n{"b": 2}', [{"a": 1}, "broken", {"b": 2}]),
        ('[{"a": nope}, {"b": 2}]', ["broken", {"b": 2}]),
        ('[{"a": nope, "t": "}]\\""}, 3]', ["broken", 3]),
        ('[nope, {"b": 2}, 3]', ["broken", 3]),
        ("[" * 5000 + "]" * 5000 + "\n", []),
    ],
)
def test_values_of_every_layout(text: str, expected: list[Any]) -> None:
    if text.startswith("[[["):
        expected = ["broken"]
    assert read(text) == expected


@pytest.mark.parametrize("depth", [990, 5000, 200_000])
def test_what_is_nested_too_deeply_is_left_out_alone(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    assert read(f'[1, {{"a": {deep}}}, 2]')[::2] == [1, 2]
    assert read(f'{{"a": {deep}}}\n{{"b": 1}}')[-1] == {"b": 1}


@pytest.mark.parametrize("text", ['[{"a": 1}, {"b": ', '[{"a": 1}', '[{"a": 1},', '[{"a": 1}, {"b": "x'])
def test_a_list_that_breaks_off_ends_with_what_is_whole(text: str) -> None:
    assert read(text) == [{"a": 1}, BrokeOff(1, 1)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n{"b": ', [{"a": 1}, BrokeOff(2, 1)]),
        ('{"a": 1}\n{"b": "x', [{"a": 1}, BrokeOff(2, 1)]),
        ('{"a": 1}\n{"b": tru', [{"a": 1}, BrokeOff(2, 1)]),
        ('{\n "a": [\n  1,\n', [BrokeOff(1, 0)]),
        ('{"a": 1}\n{"b": nope}', [{"a": 1}, "broken"]),
        ("{nope", ["broken"]),
        ('{"a": 1}\n{"b": "x\n{"c": 3}', [{"a": 1}, "broken", {"c": 3}]),
    ],
)
def test_lines_that_break_off_are_told_from_a_broken_line(text: str, expected: list[Any]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize("text", ["[1 2]", "[1] x"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ImportRefused, match="Line 1 is no JSON"):
        read(text)


def test_places_are_told() -> None:
    assert [place for place, _ in values(io.StringIO("[1,\n\n2]"))] == ["item 1", "item 2 (line 3)"]
    assert [place for place, _ in values(io.StringIO("{}\n\n{}"))] == ["line 1", "line 3"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_the_size_of_what_is_read_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_values, "CHUNK_CHARACTERS", chunk)
    rows = [{"text": 'a "quoted" \\ {[ text \U0001f600', "number": 12345.678, "list": [True, None]}] * 5
    assert read(json.dumps(rows)) == rows
    assert read("\n".join(map(json.dumps, rows))) == rows
    assert read('[{"a": nope, "t": "}]"}, 123456]') == ["broken", 123456]


def test_a_value_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "CHUNK_CHARACTERS", 100)
    monkeypatch.setattr(json_values, "MOST_CHARACTERS", 1000)
    with pytest.raises(ImportRefused, match="longer than 1,000 characters"):
        read('[{"a": "' + "x" * 5000)
