"""Files of rows: what is read, what is refused with its line, what is written whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.tasks.rows import InputUnreadable, OutputUnwritable, rows, write


def put(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("a.jsonl", '{"input": "a", "n": 1}\n\n{"input": "b"}\n', [{"input": "a", "n": 1}, {"input": "b"}]),
        (
            "a.csv",
            'id,text\n1,"two\nlines"\n2,你好\n',
            [{"id": "1", "text": "two\nlines"}, {"id": "2", "text": "你好"}],
        ),
        ("a.csv", "\ufeffid,text\r\n1,x\r\n", [{"id": "1", "text": "x"}]),
        ("a.csv", "id,text\n1\n", [{"id": "1", "text": None}]),
        ("a.txt", "one\r\n\n  two\n", [{"input": "one"}, {"input": "  two"}]),
        ("empty.txt", "", []),
    ],
)
def test_what_is_read(tmp_path: Path, name: str, text: str, read: list[dict[str, Any]]) -> None:
    assert list(rows(put(tmp_path, name, text))) == read


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.xlsx", b"PK", r"give a \.jsonl, \.csv, \.txt file"),
        ("a.jsonl", b'{"input": 1}\n{"input', "line 2: not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: not a JSON object"),
        ("a.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("a.csv", b"id,text\n1,2,3\n", "line 2: more fields"),
        ("a.csv", b'id,text\n1,"open\n', "a.csv, line"),
        ("a.txt", b"caf\xe9\n", r"not UTF-8 \(byte 3\)"),
        ("gone/a.txt", None, "No such file"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, data: bytes | None, said: str) -> None:
    path = tmp_path / name if data is None else put(tmp_path, name, data)
    with pytest.raises(InputUnreadable, match=said):
        list(rows(path))


def test_csv_holds_what_json_holds(tmp_path: Path) -> None:
    some = [{"id": "1", "prediction": "a", "probabilities": {"a": 0.5}}, {"id": "2", "prediction": None, "error": "no"}]
    write(tmp_path / "o.csv", some, ["id", "prediction", "probabilities", "error"])
    assert list(rows(tmp_path / "o.csv")) == [
        {"id": "1", "prediction": "a", "probabilities": json.dumps({"a": 0.5}), "error": ""},
        {"id": "2", "prediction": "", "probabilities": "", "error": "no"},
    ]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = put(tmp_path, "o.jsonl", "before\n")

    def broken() -> Any:
        yield {"input": "x"}
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputUnwritable, match="No space left"):
        write(target, broken(), ["input"])
    assert target.read_text() == "before\n"
    assert list(tmp_path.iterdir()) == [target]
