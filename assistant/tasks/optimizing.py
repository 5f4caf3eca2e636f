"""A better template by asking the model: what it says to candidates, its own words, its paraphrases."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from assistant.engine.generate.sampling import Sampling
from assistant.errors import AssistantError
from assistant.events import Token
from assistant.tasks.evaluation import TRUTH, evaluate
from assistant.tasks.run import asked, prediction
from assistant.tasks.shots import from_rows
from assistant.tasks.task import Outcome, Row, Task
from prompts import moves
from prompts.labels import forms
from prompts.message import Message
from prompts.moves import Move
from prompts.optimize import Found, Judged, Parts, finalists_of, most_held_back, search, split
from prompts.reasoning import answer
from prompts.template import Template

PARAPHRASES = 4
ASK_PARAPHRASE = {
    "en": "Say this in other words, in one line and without any explanation:\n{text}",
    "zh": "用别的话说下面这句，只写一行，不要解释：\n{text}",
}
PARAPHRASE = Sampling(temperature=0.9, max_tokens=64)
TOP = 20
"""Tokens told of in the place of an answer's first one."""


@dataclass(slots=True)
class ModelJudge:
    """Judges templates by what the model of `task` makes of `rows`, and counts its calls."""

    task: Task
    rows: Sequence[Row]
    method: str
    """Of calibration: `batch` or `none`."""
    calls: int = 0
    _outcomes: dict[tuple[str, int], Outcome] = field(default_factory=dict)

    def cost(self, template: Template, rows: Sequence[int]) -> int:
        """Calls that were not made yet."""
        calls = replace(self.task, template=template).calls
        return calls * sum((template.hash, row) not in self._outcomes for row in rows)

    async def judge(self, template: Template, rows: Sequence[int], beside: Sequence[int] = ()) -> list[Judged]:
        """A row that fails is wrong. Raises `AssistantError` where all of them fail."""
        task = self._with(template)
        await self._ask(task, rows)
        outcomes = [self._outcomes[template.hash, row] for row in (*rows, *beside)]
        calibrations = await task.calibration(self.method, outcomes) if any("scores" in one for one in outcomes) else []
        predicted: list[dict[str, Any]] = []
        for row, outcome in zip(rows, outcomes, strict=False):
            predicted.append({**self.rows[row], **prediction(task, self.rows[row], outcome, calibrations)})
        values = evaluate(template, predicted, task.column).values
        return [Judged(value, _probability(template, row, value)) for row, value in zip(predicted, values, strict=True)]

    async def _ask(self, task: Task, rows: Sequence[int]) -> None:
        new = [row for row in rows if (task.template.hash, row) not in self._outcomes]
        async with aclosing(asked(task, (self.rows[row] for row in new))) as outcomes:
            for row in new:
                self._outcomes[task.template.hash, row] = await anext(outcomes)
        self.calls += task.calls * len(new)
        answers = [self._outcomes[task.template.hash, row] for row in new]
        if answers and all("error" in one for one in answers):
            raise AssistantError(answers[0]["error"])

    def _with(self, template: Template) -> Task:
        assert self.task.shots is not None
        changed = {
            name: value for name, value in template.sampling.items() if self.task.template.sampling.get(name) != value
        }
        shots = self.task.shots.only(template.examples)
        return replace(self.task, template=template, sampling=self.task.sampling.replace(changed), shots=shots)


@dataclass(slots=True)
class Optimization:
    """One search for a better template of `task` on labelled rows, within `budget` calls."""

    task: Task
    rows: Sequence[Row]
    budget: int
    seed: int
    method: str = "batch"
    judge: ModelJudge = field(init=False)
    parts: Parts = field(init=False)

    def __post_init__(self) -> None:
        """Raises `BudgetTooSmall`, `TooFewRows`."""
        truth = TRUTH[self.task.template.kind]
        classes = [str(row[truth]) if self.task.template.labels else "" for row in self.rows]
        self.parts = split(classes, most_held_back(self.budget, self.task.calls), self.seed)
        self.judge = ModelJudge(self.task, self.rows, self.method)

    async def run(self, tell: Callable[[str], None] = lambda _: None) -> Found:
        """`tell` gets a line on each step. Raises `AssistantError`."""
        template = self.task.template
        train = [self.rows[row] for row in self.parts.train]
        pool = from_rows(template, train, self.task.column, TRUTH[template.kind])
        found = [
            *moves.example_sets(template, pool, self.seed),
            *await self._class_words(),
            *await self._paraphrases(),
            *moves.phrasings(template),
            *moves.reasoning(template),
        ]
        left, finalists = self.budget - self.judge.calls, finalists_of(self.parts, self.budget, self.task.calls)
        return await search(template, found, self.parts, self.judge, left, self.seed, tell, finalists)

    async def _class_words(self) -> list[Move]:
        """By the likeliest tokens of two answers of each class, or of as many as a twentieth of the budget pays."""
        task, template = self.task, self.task.template
        if not task.scored or template.several:
            return []
        count = min(2 * len(template.labels), self.budget // 20, len(self.parts.train))
        tops = []
        for row in (self.rows[at] for at in self.parts.train[:count]):
            name = str(row[TRUTH[template.kind]])
            reply = forms(template.labels[name])[-1]
            tokens = await task.client.logprobs(
                task.model, task.messages(row), reply, top_logprobs=TOP, speaker=task.speaker
            )
            tops.append((name, [(one.text, one.logprob) for one in tokens[0].top]))
        self.judge.calls += count
        return moves.class_words(template, tops)

    async def _paraphrases(self) -> list[Move]:
        template = self.task.template
        text = moves.instruction(template)
        ask = ASK_PARAPHRASE.get(template.language, ASK_PARAPHRASE["en"]).replace("{text}", text)
        found = []
        for number in range(min(PARAPHRASES, self.budget // 50) if text else 0):
            said = ""
            sampling = PARAPHRASE.replace({"seed": self.seed + number})
            reply = self.task.client.chat(self.task.model, [Message("user", ask)], sampling, speaker=self.task.speaker)
            async with aclosing(reply) as events:
                async for event in events:
                    said += event.text if isinstance(event, Token) else ""
            self.judge.calls += 1
            found.append(moves.paraphrased(template, answer(said)))
        return [one for one in found if one is not None]


def _probability(template: Template, row: Row, value: float) -> float:
    """Of what is right, where classes have probabilities; else how right it is."""
    chances = row.get("probabilities")
    if template.several or not chances:
        return value
    return float(chances[str(row[TRUTH[template.kind]])])
