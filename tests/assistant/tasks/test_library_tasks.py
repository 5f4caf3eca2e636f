"""The built-in tasks with the real model and their own sets."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prompts.library import BUILT_IN

pytestmark = [pytest.mark.slow, pytest.mark.shared_engine, pytest.mark.usefixtures("real_home")]


def run(name: str, source: Path, out: Path) -> list[dict[str, Any]]:
    program = [sys.executable, "-m", "assistant", "run", name, "-i", str(source), "-o", str(out)]
    subprocess.run(program, check=True, capture_output=True, timeout=300)
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(("name", "least"), [("sentiment", 0.65), ("topic", 0.6)])
def test_beats_the_majority_by_far(tmp_path: Path, name: str, least: float) -> None:
    """Which is 0.50 and 0.20."""
    found = run(name, BUILT_IN / "en" / f"{name}.jsonl", tmp_path / "out.jsonl")
    assert sum(row["prediction"] == row["label"] for row in found) / len(found) > least


def test_a_few_rows_that_have_inputs_of_their_own(tmp_path: Path) -> None:
    """Too few to calibrate by; inputs that say nothing stand for all that a row holds."""
    source = tmp_path / "in.jsonl"
    lines = (BUILT_IN / "en" / "yes-no-question.jsonl").read_text("utf-8").splitlines(keepends=True)
    source.write_text("".join(lines[:3]), "utf-8")
    found = run("yes-no-question", source, tmp_path / "out.jsonl")
    assert [set(row["probabilities"]) for row in found] == [{"yes", "no"}] * 3
    assert len({row["probabilities"]["yes"] for row in found}) == 3
