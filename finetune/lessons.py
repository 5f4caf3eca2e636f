"""A frozen dataset -> what the trainer works on: rows of tokens for each example, by the kind of the dataset."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.errors import TrainingRefused
from finetune import tagging
from finetune.config import TrainConfig
from finetune.example import Example
from finetune.losses import Classes, Objective, Preference, Supervised, Thumbs
from finetune.tokens import Row, Tokenizer
from prompts.labels import forms

OBJECTIVES = {"supervised": "supervised", "preference": "dpo", "kto": "kto", "label": "label", "entities": "entities"}
"""Kind of dataset -> the objective it is made for."""


@dataclass(frozen=True)
class Lessons:
    """One part of a dataset as rows. `examples[i]` gave `items[i]`; one that doesn't fit the context gave none."""

    objective: str
    examples: Sequence[Example]
    items: list[list[Row]]

    @property
    def supervised(self) -> int:
        """Tokens that count in a loss."""
        return sum(row.supervised for rows in self.items for row in rows)

    @property
    def types(self) -> tuple[str, ...]:
        """Of the entities that are to be found; none where something else is learned."""
        return tagging.types_of(self.examples[0]) if self.objective == "entities" and self.examples else ()

    @property
    def longest(self) -> int:
        """The most tokens that one item takes, shared beginnings counted once for all its rows."""
        return max((_together(rows) for rows in self.items), default=0)

    def learned(self, reference: Sequence[Sequence[float]], config: TrainConfig) -> Objective:
        """The loss over them. `reference`: of each item's rows the log-probability under the base, if it counts."""
        match self.objective:
            case "dpo":
                return Preference(self.items, reference, config.beta)
            case "kto":
                return Thumbs(self.items, reference, [one.good for one in self.examples], config.beta)
            case "label":
                return Classes(self.items, [[len(forms(words)) for words in one.choices] for one in self.examples])
        return Supervised(self.items)


def objective_of(kind: str, config: TrainConfig) -> str:
    """What is learned from a dataset of that kind. Raises `TrainingRefused` where the kind doesn't hold it."""
    made_for = OBJECTIVES[kind]
    wanted = made_for if config.objective == "auto" else config.objective
    if wanted != made_for and not (wanted == "supervised" and kind == "preference"):
        raise TrainingRefused(
            f"A dataset of kind {kind} is for --objective {made_for}, not {wanted}. Make another with `finetune data`."
        )
    return wanted


def lessons(objective: str, examples: Sequence[Example], tokenizer: Tokenizer, seed: int) -> Lessons:
    """Rows of each example. Raises `TrainingRefused` where none has a token to learn."""
    match objective:
        case "dpo":
            items = [tokenizer.pair(one) for one in examples]
        case "kto":
            items = _judged(examples, tokenizer, seed)
        case "label":
            items = [_choices(one, tokenizer) for one in examples]
        case "entities":
            items = [tagging.rows(one, tokenizer) for one in examples]
        case _:
            items = [tokenizer.rows(one) for one in examples]
    found = Lessons(objective, examples, items)
    if examples and not found.supervised:
        raise TrainingRefused(
            "None of the examples has a token to learn: their replies are empty, marked as read only, or longer than "
            "the context. Choose others with `finetune data`."
        )
    return found


def _judged(examples: Sequence[Example], tokenizer: Tokenizer, seed: int) -> list[list[Row]]:
    """Each judged reply, and the reply of another example after the same prompt."""
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    other = {one: order[(place + 1) % len(order)] for place, one in enumerate(order)}
    return [
        tokenizer.alternatives(
            one.messages[:-1], (one.messages[-1].content, examples[other[place]].messages[-1].content)
        )
        for place, one in enumerate(examples)
    ]


def _choices(example: Example, tokenizer: Tokenizer) -> list[Row]:
    said = [form for words in example.choices for form in forms(words)]
    return tokenizer.alternatives(example.messages[:-1], said, end=False)


def _together(rows: Sequence[Row]) -> int:
    """Tokens of a block that holds just these rows."""
    if len(rows) == 1:
        return len(rows[0].ids)
    return len({row.ids[: length + 1] for row in rows for length in range(len(row.ids))})
