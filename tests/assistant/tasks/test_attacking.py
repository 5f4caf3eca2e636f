"""Attacks with the real model, and how bent rows are judged."""

from typing import Any

import pytest

from assistant.adapters.speakers import BASE
from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tasks.attacking import Siege, drawn
from assistant.tasks.task import Task
from prompts import template
from tests.assistant.tasks.test_run import CAPITAL, PEOPLE, REVIEWS, SENTIMENT

pytestmark = pytest.mark.shared_engine

LETTERS = """---
kind: label
labels: [A, B]
---
# user
{{ input }}
Answer with a letter.
"""


def test_rows_are_drawn_with_a_seed_and_in_order() -> None:
    rows = [{"input": str(number)} for number in range(30)]
    some = drawn(rows, 5, 1)
    assert len(some) == 5
    assert some == drawn(rows, 5, 1) != drawn(rows, 5, 2)
    assert some == sorted(some, key=rows.index)
    assert drawn(rows, 99, 1) == rows


async def besieged(home: Paths, text: str, rows: list[dict[str, Any]], values: dict[str, str] | None = None) -> Siege:
    async with Client(home, Settings()) as client:
        sampling = Sampling(temperature=0, max_tokens=4)
        found = template.parse(text, name="one")
        siege = Siege(Task(client, found, catalogue.DEFAULT, BASE, sampling, values or {}), rows, "none", 0)
        await siege.run(lambda _done, _total: None)
    return siege


@pytest.mark.slow
async def test_classes_under_attack(real_home: Paths) -> None:
    rows = [{"input": text, "label": label} for text, label in REVIEWS[3:7]]
    siege = await besieged(real_home, SENTIMENT, rows)
    orders = siege.all_of(injections=True)
    assert orders is not None
    assert orders.trials == 4 * 46
    assert 0 < orders.obeyed <= orders.flipped < 1, "a small model obeys some of them"
    assert len(siege.kept()) == 4
    assert all(0 <= one <= 1 for one in siege.kept())
    flips = [trial for trial in siege.trials if trial.flipped]
    assert all(trial.clean != trial.value for trial in flips), "of two classes one is right"


@pytest.mark.slow
async def test_an_option_that_moved_is_judged_by_what_it_says(real_home: Paths) -> None:
    rows = [{"input": "Which is a fruit?\nA. an apple\nB. a stone", "label": "A"}]
    siege = await besieged(real_home, LETTERS, rows)
    moved = next(trial for trial in siege.trials if trial.attack.name == "option order")
    assert moved.flipped == (moved.clean != moved.value), "a letter that is kept names the other option"


@pytest.mark.slow
async def test_written_and_extracted_answers_under_attack(real_home: Paths) -> None:
    siege = await besieged(real_home, CAPITAL, [{"input": "France", "reference": "Paris"}], {"manner": "briefly"})
    assert siege.main == "f1"
    assert any(trial.flipped for trial in siege.trials)
    found = await besieged(
        real_home, PEOPLE, [{"input": "Ada met a friend.", "reference": {"person": {"text": "Ada"}}}]
    )
    assert not any(trial.obeyed for trial in found.trials), "the schema allows two names only"
