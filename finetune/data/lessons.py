"""A frozen dataset -> what the trainer works on: rows of tokens for each example, by the kind of the dataset."""

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
"""Kind of dataset -> the objective it is made for."""


class Rows(Sequence[list[Row]]):
    """The rows of each example, made when they are first asked for."""

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
        """Other rows for an example, such as with soft targets."""
        self._made[place] = rows


@dataclass(frozen=True)
class Lessons:
    """One part of a dataset as rows. `examples[i]` gave `items[i]`; one that doesn't fit the context gave none."""

    objective: str
    examples: Sequence[Example]
    items: Sequence[Sequence[Row]]
    streams: Sequence[Stream] = ()
    """Where a training reads several kinds of items side by side: the parts of `items`, in order. The first of them is
    what is new, and only it has `examples`."""

    @property
    def replayed(self) -> int:
        """How many of the last items are replayed, of what the model could say before."""
        return len(self.items) - self.streams[0].items.stop if self.streams else 0

    @property
    def together(self) -> bool:
        """Whether the loss compares the rows of an item."""
        return self.objective not in ("supervised", "entities")

    @property
    def types(self) -> tuple[str, ...]:
        """Of the entities that are to be found; none where something else is learned."""
        return tagging.types_of(self.examples[0]) if self.objective == "entities" and self.examples else ()

    @property
    def characters(self) -> list[int]:
        """About how long each example is."""
        return [sum(len(one.content) for one in example.messages) for example in self.examples]

    def has_any(self) -> bool:
        """Whether there is a token to learn."""
        return any(row.learned.any() for rows in self.items for row in rows)


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
    other = _others(len(examples), seed)

    def rows(place: int) -> list[Row]:
        one = examples[place]
        match objective:
            case "dpo":
                return tokenizer.pair(one)
            case "kto":  # with the reply of another example after the same prompt
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
            "None of the examples has a token to learn: their replies are empty, marked as read only, or longer than "
            "the context. Choose others with `finetune data`."
        )
    return found


def _others(count: int, seed: int) -> list[int]:
    """Of each example another one."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [following[one] for one in range(count)]


def _choices(example: Example, tokenizer: Tokenizer) -> list[Row]:
    said = [form for words in example.choices for form in forms(words)]
    return tokenizer.alternatives(example.messages[:-1], said, end=False)
