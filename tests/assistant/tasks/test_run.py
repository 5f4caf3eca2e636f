"""`assistant run` with the real model: classes, texts, JSON; errors of single rows; stopped and gone on with."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assistant.engine.models.catalogue import DEFAULT
from assistant.paths import Paths

pytestmark = [pytest.mark.slow, pytest.mark.shared_engine]

SENTIMENT = """---
kind: label
description: Positive or negative
labels:
  positive: [positive, good]
  negative: [negative, bad]
---
# user
Review: {{ input }}
Is this review positive or negative? Answer with one word.
"""
CAPITAL = """---
kind: text
description: Capitals
inputs: {manner: How to answer}
sampling: {max_tokens: 24}
---
# user
What is the capital of {{ input }}? Answer {{ manner }}.
"""
PEOPLE = """---
kind: extract
description: Names
sampling: {max_tokens: 60}
schema:
  type: object
  properties: {person: {type: object, properties: {text: {enum: [Ada, Grace]}}, required: [text]}}
  required: [person]
---
# user
Who is named in this text? {{ input }}
"""
REVIEWS = [
    ("I loved every minute of it.", "positive"),
    ("A wonderful meal and kind staff.", "positive"),
    ("Great quality, I am very happy.", "positive"),
    ("Brilliant film, the best of the year.", "positive"),
    ("The perfect gift, everybody liked it.", "positive"),
    ("It broke after two days.", "negative"),
    ("Dirty room and rude staff.", "negative"),
    ("A waste of money, I regret it.", "negative"),
    ("Terrible film, I fell asleep.", "negative"),
    ("The food was cold and awful.", "negative"),
]


@pytest.fixture
def folder(real_home: Paths, tmp_path: Path) -> Path:
    real_home.templates.mkdir(parents=True, exist_ok=True)
    for name, text in {"mood": SENTIMENT, "capital": CAPITAL, "people": PEOPLE}.items():
        (real_home.templates / f"{name}.md").write_text(text)
    with (tmp_path / "reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "truth"), *REVIEWS])
    return tmp_path


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "assistant", "run", *words]
    return subprocess.run(program, input=stdin, capture_output=True, text=True, timeout=120, check=False)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_reviews_are_told_apart(folder: Path) -> None:
    out = folder / "out.jsonl"
    ran = run("mood", "-i", str(folder / "reviews.csv"), "--column", "text", "-o", str(out), "--json")
    assert json.loads(ran.stdout) == {
        "rows": 10,
        "failed": 0,
        "resumed": 0,
        "model": DEFAULT,
        "adapter": "",
        "calibration": "batch",
        "output": str(out),
    }
    found = read(out)
    assert [(row["text"], row["truth"]) for row in found] == REVIEWS, "the order is kept"
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in found)
    assert sum(row["prediction"] == row["truth"] for row in found) >= 8
    assert [path.name for path in folder.iterdir() if "out" in path.name] == ["out.jsonl"]


@pytest.mark.usefixtures("folder")
def test_texts_from_standard_input_and_a_row_that_fails() -> None:
    rows = '{"input": "France"}\n{"country": "x"}\n{"input": "Italy", "manner": "briefly"}\n'
    ran = run("capital", "-i", "-", "-m", "smollm2-135m-instruct", stdin=rows)
    first, second, third = map(json.loads, ran.stdout.splitlines())
    assert "needs manner" in first["error"]
    assert second == {"country": "x", "prediction": None, "error": "The row has no 'input', but country."}
    assert "Rome" in third["prediction"]
    assert "error" not in third


def test_half_of_a_pair_stops_no_run(folder: Path) -> None:
    source, out = folder / "halves.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps({"input": f"A good film {end}"}) + "\n" for end in ("\ud800", "\ufffd")))
    run("mood", "-i", str(source), "-o", str(out), "--calibration", "none")
    half, replaced = (json.loads(line) for line in out.read_text(errors="surrogatepass").splitlines())
    assert half["probabilities"] == replaced["probabilities"] is not None


@pytest.mark.usefixtures("folder")
def test_what_is_extracted_always_parses_and_is_found_in_the_text() -> None:
    ran = run("people", "-i", "-", stdin="Yesterday Ada met Grace.\nNobody came.\n")
    first, second = (json.loads(line)["prediction"]["person"] for line in ran.stdout.splitlines())
    assert "Yesterday Ada met Grace."[first["start"] : first["end"]] == first["text"]
    assert second["start"] is None


def test_a_run_that_was_stopped_goes_on(folder: Path) -> None:
    source, out = folder / "reviews.csv", folder / "out.jsonl"
    words = ("mood", "-i", str(source), "--column", "text", "-o", str(out), "--json")
    run(*words)
    whole = out.read_text()
    out.unlink()
    out.mkdir()  # a folder in its place: it can't be written
    failed = run(*words)
    assert failed.returncode == 1
    assert "run it again" in failed.stderr
    out.rmdir()
    journal = folder / "out.jsonl.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 11
    journal.write_bytes(b"".join(lines[:5]) + lines[5][:-3])  # as a kill leaves it
    assert json.loads(run(*words).stdout)["resumed"] == 4
    assert out.read_text() == whole
    assert not journal.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing", "-i", "reviews.csv"], "There is no template 'nothing'"),
        (["mood", "-i", "reviews.csv"], "has no 'input', but text, truth"),
        (["mood", "-i", "reviews.csv", "--column", "text", "-o", "gone/x.csv"], "is no folder"),
        (["mood", "-i", "reviews.csv", "--column", "text", "-o", "x.xlsx"], "Name it so"),
        (["mood", "-i", "empty.txt"], "holds no rows"),
        (["mood", "-i", "reviews.csv", "--column", "text", "-o", "taken.csv"], "taken.csv.journal can't be written"),
        (["mood", "-i", "reviews.csv", "--column", "text", "-m", "none-such"], "none-such"),
    ],
)
def test_bad_input_is_said_in_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "empty.txt").touch()
    (folder / "taken.csv.journal").mkdir()
    ran = run(*words)
    assert ran.returncode != 0
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
