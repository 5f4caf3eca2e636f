"""Few-shot examples of `assistant run` and `assistant prompts test` with the real models."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assistant.adapters.speakers import BASE
from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store.database import open_database
from assistant.store.judgements import curation
from assistant.tasks.rows import rows
from assistant.tasks.shots import Shots, from_exchanges, from_rows
from assistant.tasks.task import Task
from prompts.examples import Pool
from prompts.template import Example, Template, parse
from tests.assistant.store.judgements.test_curation import ask
from tests.assistant.tasks.test_run import REVIEWS, SENTIMENT

pytestmark = pytest.mark.shared_engine

MOOD = parse(SENTIMENT, name="mood")
CONTEXT = 8192
"""Of the default model."""


def labelled(path: Path) -> Path:
    path.write_text("".join(json.dumps({"input": text, "label": label}) + "\n" for text, label in REVIEWS))
    return path


@pytest.fixture
def data(real_home: Paths, tmp_path: Path) -> Path:
    real_home.templates.mkdir(parents=True, exist_ok=True)
    (real_home.templates / "mood.md").write_text(SENTIMENT)
    return labelled(tmp_path / "mood.jsonl")


def assistant(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "assistant", *words]
    return subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)


def test_rows_of_a_file_become_examples(tmp_path: Path) -> None:
    read = list(rows(labelled(tmp_path / "x.jsonl")))
    assert from_rows(MOOD, read, "input", "label")[:1] == [Example("I loved every minute of it.", "positive")]


def test_replies_that_say_a_class_or_its_word_become_examples() -> None:
    said = [("a", "Positive."), ("b", "bad"), ("c", "I think it is good")]
    assert from_exchanges(MOOD, said) == [Example("a", "positive"), Example("b", "negative")]
    plain = parse("---\nkind: chat\n---\n# system\nhi\n", name="plain")
    assert from_exchanges(plain, said)[2] == Example("c", "I think it is good")


@pytest.mark.slow
def test_the_same_file_may_be_tested_and_chosen_from(data: Path) -> None:
    """No input sees itself; the result is compared with the test that had no examples."""
    words = ("prompts", "test", "mood", "-d", str(data), "--json")
    assert assistant(*words).returncode == 0
    ran = assistant(*words, "--examples", str(data), "--shots", "2", "--choose", "nearest")
    told = json.loads(ran.stdout)
    assert told["before"]["against"].startswith("other settings")
    assert told["accuracy"]["value"] >= 0.7


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_from_the_curated_log_by_tag(real_home: Paths) -> None:
    words = ("run", "mood", "-i", "-", "--examples", "tag:mood")
    assert "No reply tagged 'mood' is rated good" in assistant(*words).stderr
    db = open_database(real_home.database)
    for text, label in [*REVIEWS[:1], ("Hm.", "no idea"), *REVIEWS[-1:]]:
        reply = ask(db, text, label)[1]
        curation.tag(db, reply, "mood")
        curation.rate(db, reply, 1)
    db.close()
    source = real_home.data / "in.txt"
    source.write_text("What a lovely day.\n")
    words = ("run", "mood", "-i", str(source), "--examples", "tag:mood", "--choose", "diverse")
    ran = assistant(*words)
    assert ran.returncode == 0, ran.stderr
    assert "Left out: 1 of 3 replies tagged 'mood'" in ran.stderr
    assert json.loads(ran.stdout)["prediction"] in ("positive", "negative")


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_shots_without_examples() -> None:
    assert "mood has no examples. Name some" in assistant("run", "mood", "-i", "-", "--shots", "2").stderr


async def chosen(home: Paths, template: Template, examples: list[Example], **sampling: Any) -> tuple[int, int]:
    """(examples said, left out) for one input."""

    async def embed(_: Any) -> Any:
        raise AssertionError

    async with Client(home, Settings()) as client:
        shots = Shots(client, catalogue.DEFAULT, Pool(examples), len(examples), embed)
        task = Task(client, template, catalogue.DEFAULT, BASE, Sampling(**sampling), {}, shots=shots)
        found, left_out = await task._examples("word " * 200, {}, None)
    return len(found), left_out


@pytest.mark.slow
async def test_as_many_examples_as_the_context_holds(real_home: Paths) -> None:
    """2,000 tokens each: four and the input don't fit into 8,192, three do, and leave 512 for a reply but not 2,000."""
    long = [Example(f"{n} " + "word " * 2000, "good") for n in range(5)]
    plain = parse("---\nkind: text\n---\n# user\n{{ input }}\n", name="plain")
    assert await chosen(real_home, plain, long, max_tokens=512) == (3, 2)
    assert await chosen(real_home, plain, long, max_tokens=9999) == (2, 3)
    assert await chosen(real_home, plain, [Example("word " * 9000, "good")]) == (0, 1)
    assert await chosen(real_home, plain, [Example("short", "good")] * 2) == (1, 0)
