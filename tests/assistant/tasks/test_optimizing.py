"""A search with the real model: what it costs, what it proposes, what it may look at."""

from typing import Any

import pytest

from assistant.adapters.speakers import BASE
from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.errors import AssistantError
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tasks.optimizing import ModelJudge, Optimization
from assistant.tasks.shots import Shots
from assistant.tasks.task import Task
from prompts import template
from prompts.examples import Pool
from prompts.optimize import BudgetTooSmall, TooFewRows
from prompts.template import Template
from tests.assistant.tasks.test_run import CAPITAL, REVIEWS, SENTIMENT

pytestmark = pytest.mark.shared_engine

MORE = [
    ("Friendly people, lovely garden.", "positive"),
    ("I would buy it again at once.", "positive"),
    ("The worst cable I ever had.", "negative"),
    ("No answer to my mails for weeks.", "negative"),
]
ROWS = [{"input": text, "label": label} for text, label in (*REVIEWS, *MORE)]
TOPICS = """---
kind: label
labels: [sport, food]
---
# user
{{ input }}
Is this about {{ label }}?
"""


def task(client: Client, found: Template, values: dict[str, str] | None = None) -> Task:
    async def embed(_: object) -> list[list[float]]:
        raise AssertionError("nothing here goes by meaning")

    shots = Shots(client, catalogue.DEFAULT, Pool(found.examples), len(found.examples), embed)
    return Task(
        client, found, catalogue.DEFAULT, BASE, Sampling(temperature=0, max_tokens=6), values or {}, shots=shots
    )


@pytest.fixture
def client(home: Paths) -> Client:
    return Client(home, Settings())


def test_too_little_is_refused_before_anything_is_asked(client: Client) -> None:
    mood = task(client, template.parse(SENTIMENT, name="mood"))
    with pytest.raises(TooFewRows):
        Optimization(mood, ROWS[:8], 200, 0)
    with pytest.raises(BudgetTooSmall, match="at least 32"):
        Optimization(mood, ROWS, 31, 0)
    several = task(client, template.parse(TOPICS, name="topics"))
    with pytest.raises(BudgetTooSmall, match="at least 64"):
        Optimization(several, [{"input": "x", "label": "sport"}] * 20, 47, 0)


@pytest.mark.slow
async def test_a_search_keeps_its_budget_and_its_examples_apart(real_home: Paths) -> None:
    async with Client(real_home, Settings()) as client:
        run = Optimization(task(client, template.parse(SENTIMENT, name="mood")), ROWS, 70, 0)
        lines: list[str] = []
        found = await run.run(lines.append)
    assert 40 < run.judge.calls <= 70
    assert any("validation:" in line for line in lines)
    assert found.after >= found.before
    unseen = {ROWS[row]["input"] for row in (*run.parts.validation, *run.parts.test)}
    for one in found.finalists:
        assert not unseen & {example.input for example in one.candidate.template.examples}


@pytest.mark.slow
async def test_a_judge_asks_once_and_never_with_the_answer(real_home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    mood = template.parse(
        SENTIMENT.replace(
            "---\n# user", f'examples:\n  - {{input: "{ROWS[0]["input"]}", output: positive}}\n---\n# user'
        ),
        name="mood",
    )
    said: list[list[str]] = []
    score = Client.score

    async def noted(self: Client, model: str, messages: Any, continuations: Any, **options: Any) -> Any:
        said.append([one.content for one in messages])
        return await score(self, model, messages, continuations, **options)

    monkeypatch.setattr(Client, "score", noted)
    async with Client(real_home, Settings()) as client:
        judge = ModelJudge(task(client, mood), ROWS, "batch")
        assert judge.cost(mood, [0, 1]) == 2
        judged = await judge.judge(mood, [0, 1])
        assert judge.cost(mood, [0, 1, 2]) == 1
        assert len(await judge.judge(mood, [1], beside=[0])) == 1
    assert judge.calls == len(said) == 2
    assert sorted(map(len, said)) == [1, 3], "the example is not said where it is itself the question"
    assert all(0 <= one.fine <= 1 and one.value in (0, 1) for one in judged)


@pytest.mark.slow
async def test_a_written_task_is_searched_too(real_home: Paths) -> None:
    pairs = [("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"), ("Japan", "Tokyo"), ("Egypt", "Cairo")] * 3
    rows = [{"input": f"{one} ({at})", "reference": city} for at, (one, city) in enumerate(pairs)]
    async with Client(real_home, Settings()) as client:
        run = Optimization(task(client, template.parse(CAPITAL, name="capital"), {"manner": "briefly"}), rows, 60, 0)
        found = await run.run()
    assert run.judge.calls <= 60
    assert 0 <= found.before <= found.after <= 1


@pytest.mark.slow
async def test_where_no_row_can_be_asked_the_reason_is_told(real_home: Paths) -> None:
    async with Client(real_home, Settings()) as client:
        judge = ModelJudge(task(client, template.parse(CAPITAL, name="capital")), ROWS, "none")
        with pytest.raises(AssistantError, match="needs manner"):
            await judge.judge(judge.task.template, [0, 1])
