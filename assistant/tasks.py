"""A template's task for one input after another: ask the model, then make a prediction of what it said.

Asking and predicting are two steps, so that the answers to a whole file can calibrate one another: what was asked
(`Outcome`, plain JSON) is kept, and predictions are made of it at the end.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from assistant.client import Client
from assistant.engine.sampling import Sampling
from assistant.errors import AssistantError
from assistant.events import Finished, Token
from prompts import labels
from prompts.labels import Calibration
from prompts.message import Message
from prompts.reasoning import answer
from prompts.render import render
from prompts.sandbox import INPUT, LABEL
from prompts.template import Template

Row = Mapping[str, Any]
Outcome = dict[str, Any]
"""`scores` of each question, or the `text` that the model wrote."""

BATCH_ROWS = 10
"""Fewer inputs say little about how a model leans."""


class RowRefused(AssistantError):
    """One input can't be used; the others can."""


@dataclass(frozen=True)
class Task:
    """One template, asked of one model. `values` are inputs that are the same for all rows."""

    client: Client
    template: Template
    model: str
    sampling: Sampling
    values: Mapping[str, str]
    adapter: str = ""
    column: str = INPUT
    """The name of the input in a row."""

    @property
    def scored(self) -> bool:
        """Whether the model scores words instead of writing."""
        return self.template.kind in ("label", "score")

    async def ask(self, row: Row) -> Outcome:
        """What the model makes of one row. Raises `AssistantError`, `InputsInvalid`."""
        if self.scored:
            return {"scores": await self._scores(self._input(row), self._values(row))}
        messages = self._messages(self._input(row), self._values(row))
        return await self._written(messages)

    async def calibration(self, method: str, outcomes: Iterable[Outcome]) -> list[Calibration]:
        """One for each question. `method` is `none`, `contextual` or `batch`; only `batch` looks at `outcomes`."""
        if not self.scored:
            return []
        if method == "batch":
            columns = zip(*(one["scores"] for one in outcomes if "scores" in one), strict=True)
            return [labels.batch(column) for column in columns]
        if method == "contextual":
            asked = [await self._scores(text, self._saying(text)) for text in labels.CONTENT_FREE]
            return [labels.contextual(column) for column in zip(*asked, strict=True)]
        return [labels.uncalibrated(self.template.asked)] * len(self._questions())

    def predict(self, row: Row, outcome: Outcome, calibrations: Sequence[Calibration]) -> dict[str, Any]:
        """`prediction`, and for scored kinds `probabilities` (class -> 0 to 1)."""
        if not self.scored:
            return {"prediction": self._read(self._input(row), outcome["text"])}
        found = [
            calibration.probabilities(scores)
            for calibration, scores in zip(calibrations, outcome["scores"], strict=True)
        ]
        if self.template.several:
            chances = {name: one[0] for name, one in zip(self.template.labels, found, strict=True)}
            return {"prediction": [name for name, p in chances.items() if p > 0.5], "probabilities": chances}
        chances = dict(zip(self.template.labels, found[0], strict=True))
        if self.template.kind == "score":
            return {"prediction": found[0][0], "probabilities": chances}
        return {"prediction": max(chances, key=chances.__getitem__), "probabilities": chances}

    def _questions(self) -> list[dict[str, str]]:
        """What `{{ label }}` stands for in each question about one input."""
        return [{LABEL: name} for name in self.template.labels] if self.template.several else [{}]

    async def _scores(self, text: str, values: Mapping[str, str]) -> list[list[float]]:
        asked, scores = self.template.asked, []
        for question in self._questions():
            messages = self._messages(text, values, question)
            logprobs = await self.client.score(self.model, messages, labels.continuations(asked), adapter=self.adapter)
            scores.append(labels.class_scores(asked, logprobs))
        return scores

    async def _written(self, messages: list[Message]) -> Outcome:
        sampling = self.sampling
        if self.template.schema:
            sampling = sampling.replace({"json_schema": json.dumps(self.template.schema)})
        text, reason = "", ""
        reply = self.client.chat(self.model, messages, sampling, adapter=self.adapter)
        async with aclosing(reply) as events:
            async for event in events:
                if isinstance(event, Token):
                    text += event.text
                elif isinstance(event, Finished):
                    reason = event.reason
        if self.template.schema and reason == "length":
            raise RowRefused(f"The answer was cut at {sampling.max_tokens:,} tokens. Raise max_tokens.")
        return {"text": answer(text)}

    def _read(self, asked: str, text: str) -> Any:
        """A written answer as the template's kind has it."""
        if not self.template.schema:
            return text.strip()
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise RowRefused(f"The model's answer is not JSON: {error}.") from error
        return located(found, asked)

    def _messages(
        self, text: str, values: Mapping[str, str], question: Mapping[str, str] | None = None
    ) -> list[Message]:
        return render(self.template, [Message("user", text)], values, question or {})

    def _values(self, row: Row) -> dict[str, str]:
        own = {one.name: str(row[one.name]) for one in self.template.inputs if row.get(one.name) is not None}
        return {**self.values, **own}

    def _saying(self, text: str) -> dict[str, str]:
        """`values`, with `text` for the inputs that each row has for itself."""
        each = [one.name for one in self.template.inputs if one.default is None]
        return dict.fromkeys(each, text or labels.CONTENT_FREE[0]) | self._values({})

    def _input(self, row: Row) -> str:
        value = row.get(self.column)
        if value is None:
            raise RowRefused(f"The row has no {self.column!r}, but {', '.join(row) or 'nothing'}.")
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def located(found: Any, text: str) -> Any:
    """What was extracted, every object with a `text` told where that stands: `start`, `end` in characters, or None
    where `text` has no such words. Like words are found one after the other.
    """
    after: dict[str, int] = {}

    def locate(value: Any) -> Any:
        if isinstance(value, list):
            return [locate(one) for one in value]
        if not isinstance(value, dict):
            return value
        inner = {key: locate(one) for key, one in value.items()}
        words = value.get("text")
        if isinstance(words, str):
            start = text.find(words, after.get(words, 0)) if words else -1
            after[words] = start + len(words) if start >= 0 else len(text)
            inner |= {"start": start, "end": start + len(words)} if start >= 0 else {"start": None, "end": None}
        return inner

    return locate(found)


def default_calibration(rows: int) -> str:
    """`batch` where there are inputs enough to judge by, else `contextual`."""
    return "batch" if rows >= BATCH_ROWS else "contextual"


def task_sampling(template: Template, settings: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> Sampling:
    """Greedy, unless the template or `own` say otherwise; the rest as in `settings`."""
    return Sampling().replace({**settings, "temperature": 0, **template.sampling, **(own or {})})
