"""Rows of tokens for each example of a dataset, by its kind: the trainer's input."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from assistant.errors import TrainingRefused
from finetune import tagging
from finetune.config import TrainConfig
from finetune.data.example import Example
from finetune.data.pack import Stream
from finetune.data.tokens import Row, Tokenizer
from prompts.labels import forms

OBJECTIVES = {"supervised": "supervised", "preference": "dpo", "kto": "kto", "label": "label", "entities": "entities"}
"""Kind of dataset -> its training objective."""


class Rows(Sequence[list[Row]]):
    """The rows of each example, tokenised on first access."""

    def __init__(self, count: int, make: Callable[[int], list[Row]]) -> None:
        self._made: list[list[Row] | None] = [None] * count
        self._make = make

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, place: int) -> list[Row]: ...

    @overload
    def __getitem__(self, place: slice) -> list[list[Row]]: ...

    def __getitem__(self, place: int | slice) -> list[Row] | list[list[Row]]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        rows = self._made[place]
        if rows is None:
            rows = self._made[place] = self._make(place)
        return rows

    def __setitem__(self, place: int, rows: list[Row]) -> None:
        """Replace the rows of an example, such as by rows with soft targets."""
        self._made[place] = rows


@dataclass(frozen=True)
class Lessons:
    """One part of a dataset as rows. `examples[i]` gave `items[i]`, which is empty if the example is too long."""

    objective: str
    examples: Sequence[Example]
    items: Sequence[Sequence[Row]]
    streams: Sequence[Stream] = ()
    """Slices of `items` that a training mixes, in order. The first contains the new examples and only it has
    `examples`."""

    @property
    def replayed(self) -> int:
        """Number of replayed items, which come last."""
        return len(self.items) - self.streams[0].items.stop if self.streams else 0

    @property
    def together(self) -> bool:
        """Whether the loss compares the rows of an item, which must be in one block then."""
        return self.objective not in ("supervised", "entities")

    @property
    def types(self) -> tuple[str, ...]:
        """Entity types to be marked; empty for other objectives."""
        return tagging.types_of(self.examples[0]) if self.objective == "entities" and self.examples else ()

    @property
    def characters(self) -> list[int]:
        """Approximate length of each example."""
        return [sum(len(one.content) for one in example.messages) for example in self.examples]

    def has_any(self) -> bool:
        """Whether any token is learned."""
        return any(row.learned.any() for rows in self.items for row in rows)


def objective_of(kind: str, config: TrainConfig) -> str:
    """The objective for a dataset of that kind. Raises `TrainingRefused` if `config.objective` needs another kind."""
    made_for = OBJECTIVES[kind]
    wanted = made_for if config.objective == "auto" else config.objective
    if wanted != made_for and not (wanted == "supervised" and kind == "preference"):
        raise TrainingRefused(
            f"A dataset of kind {kind} is for --objective {made_for}, not {wanted}. Make another with `finetune data`."
        )
    return wanted


def lessons(objective: str, examples: Sequence[Example], tokenizer: Tokenizer, seed: int) -> Lessons:
    """Rows of each example. Raises `TrainingRefused` if no example has a token to learn."""
    other = _others(len(examples), seed)

    def rows(place: int) -> list[Row]:
        one = examples[place]
        match objective:
            case "dpo":
                return tokenizer.pair(one)
            case "kto":  # with another example's reply to the same prompt, to estimate the divergence
                replies = one.messages[-1].content, examples[other[place]].messages[-1].content
                return tokenizer.alternatives(one.messages[:-1], replies)
            case "label":
                return _choices(one, tokenizer)
            case "entities":
                return tagging.rows(one, tokenizer)
        return tokenizer.rows(one)

    found = Lessons(objective, examples, Rows(len(examples), rows))
    if examples and not found.has_any():
        raise TrainingRefused(
            "No example has a token to learn: the replies are empty, marked as context only, or longer than the "
            "context. Choose other examples with `finetune data`."
        )
    return found


def _others(count: int, seed: int) -> list[int]:
    """For each of `count` examples the index of a different one."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [following[one] for one in range(count)]


def _choices(example: Example, tokenizer: Tokenizer) -> list[Row]:
    said = [form for words in example.choices for form in forms(words)]
    return tokenizer.alternatives(example.messages[:-1], said, end=False)
