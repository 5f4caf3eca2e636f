"""A template's task for one input after another: ask the model, then make a prediction of what it said.

Asking and predicting are two steps, so that the answers to a whole file can calibrate one another: what was asked
(`Outcome`, plain JSON) is kept, and predictions are made of it at the end.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from assistant.adapters.speakers import Speaker
from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.errors import AssistantError
from assistant.events import Finished, Token
from assistant.tasks.shots import Shots
from prompts import labels
from prompts.filters import Cut, normalised
from prompts.labels import Calibration
from prompts.message import Message
from prompts.reasoning import Reasoning, answer, shares
from prompts.render import complete, render
from prompts.sandbox import INPUT, LABEL
from prompts.template import Example, Template

Row = Mapping[str, Any]
Outcome = dict[str, Any]
"""`scores` of each question, or the `text` that the model wrote and whether it was `cut` at its most tokens, or with
reasoning all `texts`."""

BATCH_ROWS = 10
"""Fewer inputs say little about how a model leans."""


SCORED_TOKENS = 64
"""Left free for the words of classes, and for questions whose label is longer than the last one's."""


class RowRefused(AssistantError):
    """One input can't be used; the others can."""


VOTING_TEMPERATURE = 0.7
"""Of answers that are voted on, as in Wang et al. 2022 (arXiv:2203.11171)."""


@dataclass(frozen=True)
class Task:
    """One template, asked of one model. `values` are inputs that are the same for all rows."""

    client: Client
    template: Template
    model: str
    speaker: Speaker
    """Who answers all rows, whatever is promoted meanwhile."""
    sampling: Sampling
    values: Mapping[str, str]
    column: str = INPUT
    """The name of the input in a row."""
    shots: Shots | None = None
    """Chooses the examples of each input; None: all of the template's own, whatever they are."""

    @property
    def adapter(self) -> str:
        """The adapter's name; empty for the base alone."""
        return self.speaker.name

    @property
    def scored(self) -> bool:
        """Whether the model scores words instead of writing."""
        return bool(self.template.labels) and not self.template.reasoning

    @property
    def columns(self) -> list[str]:
        """What a prediction has."""
        probabilities = ["probabilities"] if self.template.labels else []
        return ["prediction", *probabilities, *(["votes", "reasoning"] if self.template.reasoning else [])]

    async def ask(self, row: Row) -> Outcome:
        """What the model makes of one row. Raises `AssistantError`, `InputsInvalid`."""
        text, values = self._input(row), self._values(row)
        cut = await self._cut(text, values)
        examples, left_out = await self._examples(text, values, cut)
        if self.scored:
            outcome: Outcome = {"scores": await self._scores(text, values, examples, cut)}
        else:
            messages = self._messages(text, values, examples, cut=cut)
            written = await asyncio.gather(*(self._written(messages, number) for number in range(self.calls)))
            text, reason = written[0]
            outcome = {"text": answer(text)} | ({"cut": True} if reason == "length" else {})
            if self.template.reasoning:
                outcome = {"texts": [text for text, _ in written]}
        return outcome | ({"left_out": left_out} if left_out else {})

    def messages(self, row: Row) -> list[Message]:
        """The question about a row, without examples. Raises `AssistantError`, `InputsInvalid`."""
        return self._messages(self._input(row), self._values(row), ())

    @property
    def calls(self) -> int:
        """Requests to the model for one row."""
        return self.template.reasoning.votes if self.template.reasoning else len(self._questions())

    async def calibration(self, method: str, outcomes: Iterable[Outcome]) -> list[Calibration]:
        """One for each question. `method` is `none`, `contextual` or `batch`; only `batch` looks at `outcomes`."""
        if not self.scored:
            return []
        if method == "batch":
            columns = zip(*(one["scores"] for one in outcomes if "scores" in one), strict=True)
            return [labels.batch(column) for column in columns]
        if method == "contextual":
            asked = [await self._scores_of_nothing(text) for text in labels.CONTENT_FREE]
            return [labels.contextual(column) for column in zip(*asked, strict=True)]
        return [labels.uncalibrated(self.template.asked)] * len(self._questions())

    def predict(self, row: Row, outcome: Outcome, calibrations: Sequence[Calibration]) -> dict[str, Any]:
        """`prediction`, for labels and scores `probabilities` (class -> 0 to 1); with reasoning `votes` (answer -> its
        share) and the `reasoning` of one reply that won.
        """
        if self.template.reasoning:
            return self._voted(self.template.reasoning, outcome["texts"])
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

    async def _examples(self, text: str, values: Mapping[str, str], cut: Cut | None) -> tuple[Sequence[Example], int]:
        """(those to be said before an input, how many more there was no room for)"""
        if self.shots is None:
            return self.template.examples, 0
        question = self._questions()[-1]
        reply_tokens = SCORED_TOKENS if self.scored else self.sampling.max_tokens
        return await self.shots.choose(
            text, values, lambda some: self._messages(text, values, some, question, cut), reply_tokens
        )

    async def _scores_of_nothing(self, text: str) -> list[list[float]]:
        values = self._saying(text)
        examples, _ = await self._examples(text, values, None)
        return await self._scores(text, values, examples, None)

    async def _scores(
        self, text: str, values: Mapping[str, str], examples: Sequence[Example], cut: Cut | None
    ) -> list[list[float]]:
        asked, scores = self.template.asked, []
        for question in self._questions():
            messages = self._messages(text, values, examples, question, cut)
            logprobs = await self.client.score(self.model, messages, labels.continuations(asked), speaker=self.speaker)
            scores.append(labels.class_scores(asked, logprobs))
        return scores

    def _voted(self, reasoning: Reasoning, texts: Sequence[str]) -> dict[str, Any]:
        read = [reasoning.read(text) for text in texts]
        if classes := self.template.labels:
            read = [(steps, labels.said(classes, said)) for steps, said in read]
        votes = shares([said for _, said in read])
        if not votes:
            raise RowRefused(f"No answer was found in {len(texts)} replies, such as {texts[0].strip()[-80:]!r}.")
        won = next(iter(votes))
        steps = next(steps for steps, said in read if normalised(said) == normalised(won))
        found: dict[str, Any] = {"prediction": won, "votes": votes, "reasoning": steps}
        if classes:
            given = sum(votes.values())
            found["probabilities"] = {name: votes.get(name, 0.0) / given for name in classes}
            if self.template.kind == "score":
                found["prediction"] = found["probabilities"][next(iter(classes))]
        return found

    async def _written(self, messages: list[Message], number: int = 0) -> tuple[str, str]:
        """A reply as it was written, and why it ended; those with other numbers have other seeds."""
        sampling = self.sampling
        if self.template.reasoning:
            sampling = sampling.replace({"seed": ((sampling.seed or 0) + number) % 2**63})
        if self.template.schema:
            sampling = sampling.replace({"json_schema": json.dumps(self.template.schema)})
        text, reason = "", ""
        reply = self.client.chat(self.model, messages, sampling, speaker=self.speaker)
        async with aclosing(reply) as events:
            async for event in events:
                if isinstance(event, Token):
                    text += event.text
                elif isinstance(event, Finished):
                    reason = event.reason
        if self.template.schema and reason == "length":
            raise RowRefused(f"The answer was cut at {sampling.max_tokens:,} tokens. Raise max_tokens.")
        return text, reason

    def _read(self, asked: str, text: str) -> Any:
        """A written answer as the template's kind has it."""
        if not self.template.schema:
            return text.strip()
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise RowRefused(f"The model's answer is not JSON: {error}.") from error
        return located(found, asked)

    async def _cut(self, text: str, values: Mapping[str, str]) -> Cut | None:
        """Cuts the inputs that have a limit of tokens, whose tokens are asked for here."""
        limited = {name: one for name, one in self.template.filters.items() if one.tokens}
        if not limited:
            return None
        given = complete(self.template, values) | {INPUT: text}
        filtered = [limited[name].apply(given[name]) for name in limited]
        told = await self.client.tokenize(self.model, texts=filtered)
        pieces = dict(zip(filtered, told.pieces, strict=True))
        return lambda some, tokens: "".join(pieces[some][:tokens])

    def _messages(
        self,
        text: str,
        values: Mapping[str, str],
        examples: Sequence[Example],
        question: Mapping[str, str] | None = None,
        cut: Cut | None = None,
    ) -> list[Message]:
        return render(self.template, [Message("user", text)], values, question or {}, examples, cut)

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
    """Greedy, unless the template, its votes or `own` say otherwise; the rest as in `settings`.

    Raises `AssistantError` where all votes would be the same.
    """
    votes = template.reasoning.votes if template.reasoning else 1
    temperature = VOTING_TEMPERATURE if votes > 1 else 0
    sampling = Sampling().replace({**settings, "temperature": temperature, **template.sampling, **(own or {})})
    if votes > 1 and not sampling.temperature:
        raise AssistantError(f"At temperature 0 all {votes} votes would be the same. Set it above 0.")
    return sampling
