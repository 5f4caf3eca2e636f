"""`assistant prompts optimize` with the real model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.paths import Paths
from prompts.library import BUILT_IN, Library
from tests.assistant.tasks.test_optimizing import ROWS

pytestmark = pytest.mark.shared_engine

POOR = """---
kind: label
labels: {positive: [plus], negative: [minus]}
---
# user
Review: {{ input }}
Yes?
"""
SET = BUILT_IN / "en" / "sentiment.jsonl"


@pytest.fixture
def data(real_home: Paths, tmp_path: Path) -> Path:
    real_home.templates.mkdir(parents=True, exist_ok=True)
    (real_home.templates / "mood.md").write_text(POOR)
    path = tmp_path / "mood.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def optimize(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "assistant", "prompts", "optimize", "mood", *words]
    return subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_what_is_better_is_written_with_its_lineage(real_home: Paths) -> None:
    ran = optimize("-d", str(SET), "--budget", "120", "--json")
    told = json.loads(ran.stdout)
    assert told["improved"], "yes and no words for a review are easily bettered"
    assert told["calls"] <= told["budget"] == 120
    assert told["validation"]["before"] < told["validation"]["after"]
    assert told["test"]["low"] <= told["test"]["difference"] <= told["test"]["high"]
    library = Library(real_home.templates)
    made, parent = library.find("mood-optimized"), library.find("mood")
    assert told["file"] == str(made.path)
    assert made.lineage["parent_hash"] == parent.hash
    assert made.lineage["test"] == told["test"]
    assert made.lineage["changes"]
    assert (made.sections, made.labels, made.examples) != (parent.sections, parent.labels, parent.examples)
    again = optimize("-d", str(SET))
    assert again.returncode == 1
    assert "is there already. Name another file: --out FILE." in again.stderr


@pytest.mark.slow
def test_a_report_tells_before_and_after_or_that_nothing_was_better(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "other.md"
    shown = optimize("-d", str(data), "--budget", "60", "--out", str(out)).stdout
    assert "4 to choose by, 4 to test on" in shown
    if out.exists():
        assert f"written: {out}" in shown
        assert "the best of several" in shown
        assert any(word in shown for word in (": better", ": worse", ": no difference is shown"))
    else:
        assert "Nothing was better than the template as it is" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "20"), "too small to compare templates. Give at least 32."),
        (("--out", "Bad Name.md"), "small letters, digits and hyphens"),
        (("--out", "none/x.md"), "is no folder"),
        (("-d", "none.jsonl"), "can't be read"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(data: Path, words: tuple[str, ...], said: str) -> None:
    ran = optimize("-d", str(data), *words)
    assert ran.returncode == 1
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_few_rows_are_refused(data: Path) -> None:
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:11]))
    assert "Give 12." in optimize("-d", str(data)).stderr
