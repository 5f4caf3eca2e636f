"""Answers that are written after reasoning and voted on, and inputs that are cut, with the real model."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from assistant.adapters.speakers import BASE
from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tasks.task import RowRefused, Task
from prompts.library import BUILT_IN
from prompts.template import Template, parse

pytestmark = pytest.mark.slow

LETTERS = parse("---\nkind: label\nlabels: [A, B]\nreasoning: {votes: 4}\n---\n# user\n{{ input }}\n", name="t")
SCORE = parse("---\nkind: score\nreasoning: {votes: 4}\n---\n# user\n{{ input }}\n", name="t")
TEXT = parse("---\nkind: text\nreasoning: {votes: 4}\n---\n# user\n{{ input }}\n", name="t")


@pytest.fixture
async def client(real_home: Paths) -> AsyncIterator[Client]:
    async with Client(real_home, Settings()) as client:
        yield client


def task(client: Client, template: Template) -> Task:
    return Task(client, template, catalogue.DEFAULT, BASE, Sampling(temperature=0.7, max_tokens=12), {})


def test_votes_and_reasoning_stand_in_the_output(real_home: Paths, tmp_path: Path) -> None:
    assert real_home.models.exists()
    source = tmp_path / "in.jsonl"
    lines = (BUILT_IN / "en" / "commonsense.jsonl").read_text("utf-8").splitlines(keepends=True)
    source.write_text("".join(lines[:2]), "utf-8")
    words = [sys.executable, "-m", "assistant", "run", "commonsense-steps", "-i", str(source)]
    first, again = (
        subprocess.run(words, capture_output=True, text=True, timeout=200, check=True).stdout for _ in range(2)
    )
    assert first == again, "the seeds are the same"
    for row in map(json.loads, first.splitlines()):
        assert row["prediction"] == next(iter(row["votes"]))
        assert 0 < sum(row["votes"].values()) <= 1
        assert all(share * 5 == pytest.approx(round(share * 5)) for share in row["votes"].values())
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["reasoning"].endswith("Answer:")
    ran = subprocess.run([*words, "--sampling", "temperature=0"], capture_output=True, text=True, check=False)
    assert "all 5 votes would be the same" in ran.stderr


async def test_what_is_made_of_replies(client: Client) -> None:
    replies = {"texts": ["Hm. Answer: B", "Answer: A", "no idea", "So. Answer: B."]}
    assert task(client, LETTERS).predict({}, replies, []) == {
        "prediction": "B",
        "votes": {"B": 0.5, "A": 0.25},
        "reasoning": "Hm. Answer:",
        "probabilities": {"A": pytest.approx(1 / 3), "B": pytest.approx(2 / 3)},
    }
    assert task(client, TEXT).predict({}, replies, [])["votes"] == {"B": 0.5, "A": 0.25, "no idea": 0.25}
    yes = task(client, SCORE).predict({}, {"texts": ["Answer: yes", "Answer: no", "Answer: No.", "no"]}, [])
    assert yes["prediction"] == yes["probabilities"]["yes"] == 0.25
    with pytest.raises(RowRefused, match="No answer was found in 1 replies, such as 'C'"):
        task(client, LETTERS).predict({}, {"texts": ["C"]}, [])


async def test_replies_differ_by_their_seeds(client: Client) -> None:
    asked = {"input": "Name an animal and a colour."}
    outcome = await task(client, TEXT).ask(asked)
    assert len(set(outcome["texts"])) > 1
    assert outcome == await task(client, TEXT).ask(asked)


async def test_an_input_is_cut_by_the_models_tokens(client: Client) -> None:
    text = "---\nkind: text\nfilters: {input: [whitespace, {tokens: 5}]}\n---\n# user\n{{ input }}\n"
    cutting = task(client, parse(text, name="t"))
    cut = await cutting._cut("  one  two three 你好 four five six", {})
    messages = cutting._messages("  one  two three 你好 four five six", {}, [], cut=cut)
    told = await client.tokenize(catalogue.DEFAULT, texts=["one two three 你好 four five six"])
    assert messages[-1].content == "".join(told.pieces[0][:5])
    assert messages[-1].content.startswith("one two three")
