"""`assistant prompts test` with the real model, and the comparison with the test before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.paths import Paths
from tests.assistant.tasks.test_run import REVIEWS, SENTIMENT

pytestmark = [pytest.mark.slow, pytest.mark.shared_engine]


@pytest.fixture
def data(real_home: Paths, tmp_path: Path) -> Path:
    real_home.templates.mkdir(parents=True, exist_ok=True)
    (real_home.templates / "mood.md").write_text(SENTIMENT)
    path = tmp_path / "mood.jsonl"
    path.write_text("".join(json.dumps({"input": text, "label": label}) + "\n" for text, label in REVIEWS))
    return path


def measure(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "assistant", "prompts", "test", "mood", *words]
    return subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)


def test_a_test_is_kept_and_the_next_compared_with_it(data: Path, real_home: Paths) -> None:
    first = json.loads(measure("-d", str(data), "--json").stdout)
    assert first["before"] is None
    assert first["items"] == 10
    assert first["accuracy"]["low"] <= first["accuracy"]["value"] <= first["accuracy"]["high"]
    assert first["accuracy"]["value"] >= 0.8 > first["majority"]
    again = measure("-d", str(data)).stdout
    assert "against" not in again, "the same test once more"
    (real_home.templates / "mood.md").write_text(SENTIMENT.replace("one word", "a single word"))
    changed = measure("-d", str(data)).stdout
    assert "against template" in changed
    assert "positive" in changed


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('{"input": "x", "label": "neutral"}', "row 1: the label 'neutral' is none of positive, negative"),
        ('{"input": "x"}', "row 1: no 'label'"),
        ("", "holds no rows"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(data: Path, rows: str, said: str) -> None:
    data.write_text(rows)
    ran = measure("-d", str(data))
    assert ran.returncode == 1
    assert said in ran.stderr


@pytest.mark.usefixtures("data")
def test_a_template_without_a_set() -> None:
    assert "Name one: --data FILE." in measure().stderr


def test_an_attack_is_told_kept_and_compared(data: Path, real_home: Paths) -> None:
    words = ("-d", str(data), "--attack", "--attack-rows", "2")
    told = json.loads(measure(*words, "--json").stdout)
    assert told["before"] is None
    assert {one["name"] for one in told["families"]} >= {"typos", "override", "control token", "hidden"}
    assert len([one for one in told["attacks"] if one["pattern"]]) >= 40
    plain = json.loads(measure("-d", str(data), "--json").stdout)
    assert plain["before"] is None, "another measure"
    (real_home.templates / "mood.md").write_text(SENTIMENT.replace("one word", "a single word"))
    shown = measure(*words).stdout
    assert "all orders" in shown
    assert "against template" in shown


@pytest.mark.usefixtures("data")
def test_an_attack_on_a_column_that_is_not_there(data: Path) -> None:
    ran = measure("-d", str(data), "--attack", "--column", "text")
    assert ran.returncode == 1
    assert "has no 'text', but input, label" in ran.stderr


def test_a_fitted_calibration_is_kept_for_runs(data: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "assistant", "run", "mood", "-i", str(data), "--calibration", "fitted"]
    before = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert "No calibration is fitted for mood" in before.stderr
    told = json.loads(measure("-d", str(data), "--calibration", "fitted", "--json").stdout)
    assert told["calibration"] == "fitted"
    assert told["accuracy"]["value"] >= 0.7, "each row by a fit that hasn't seen it"
    ran = subprocess.run(run, capture_output=True, text=True, timeout=120, check=True)
    assert "calibration: fitted" in ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert sum(row["prediction"] == row["label"] for row in found) >= 8
    few = tmp_path / "few.jsonl"
    few.write_text("".join(data.read_text().splitlines(keepends=True)[:9]))
    assert "fitted on 10 rows or more, here are 9" in measure("-d", str(few), "--calibration", "fitted").stderr
