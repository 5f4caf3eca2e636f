"""Choose few-shot examples for an input from a pool, never the input itself.

Runs no model. Choices by meaning need embeddings as arguments:

    pool = Pool(examples, "nearest", vectors=embed(texts(examples)))
    chosen = pool.choose(4, text, vector=embed([text])[0])

All choices except `nearest` are the same for every input, so that an engine caches their prompt.
"""

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from prompts.filters import normalised
from prompts.template import Example

CHOICES = ("first", "random", "balanced", "nearest", "diverse")
BY_MEANING = ("nearest", "diverse")
"""Choices that need vectors."""

Vector = Sequence[float]
"""Embedding of a text, of length 1."""

NOTHING: Mapping[str, str] = MappingProxyType({})


class Pool:
    """Examples and a way to choose among them.

    - `first`: in order
    - `random`: shuffled with `seed`
    - `balanced`: equally many of each output, drawn with `seed`
    - `nearest`: nearest in meaning to the input, the nearest last (Liu et al. 2022, arXiv:2101.06804)
    - `diverse`: each as far from the earlier ones as possible (greedy k-centre, Gonzalez 1985), the most central first

    Duplicates count once.
    """

    def __init__(
        self, examples: Sequence[Example], choice: str = "first", *, seed: int = 0, vectors: Sequence[Vector] = ()
    ) -> None:
        """`vectors`: of each example, for the choices in `BY_MEANING`. Raises `ValueError`."""
        if choice not in CHOICES:
            raise ValueError(f"choice is {choice!r}, but must be one of {', '.join(CHOICES)}")
        if choice in BY_MEANING and len(vectors) != len(examples):
            raise ValueError(f"{choice} needs a vector for each of {len(examples)} examples, not {len(vectors)}")
        once = {(*_key(one.input, one.values), one.output): at for at, one in reversed(list(enumerate(examples)))}
        kept = sorted(once.values())
        self.choice, self.seed = choice, seed
        self.examples = [examples[at] for at in kept]
        self.inputs = {name for one in self.examples for name in one.values}
        """Names of the inputs for which examples have their own values."""
        self._inputs = [normalised(one.input) for one in self.examples]
        self._vectors = _matrix([vectors[at] for at in kept]) if choice in BY_MEANING and kept else None
        self._order = self._preferred(random.Random(seed))

    def choose(
        self, count: int, text: str = "", values: Mapping[str, str] = NOTHING, vector: Vector = ()
    ) -> list[Example]:
        """At most `count` examples for the input `text` with `values`, in the order of the prompt.

        A smaller `count` drops the least preferred examples. `nearest` needs the input's `vector`.
        """
        order = self._nearest(vector) if self.choice == "nearest" and self.examples else self._order
        item, own = normalised(text), {name: normalised(value) for name, value in values.items()}
        chosen: list[Example] = []
        for at in order:
            if len(chosen) >= count:
                break
            if self._inputs[at] != item or not _agrees(self.examples[at], own):
                chosen.append(self.examples[at])
        return chosen[::-1] if self.choice == "nearest" else chosen

    def _preferred(self, draw: random.Random) -> list[int]:
        """Indices of all examples, the most preferred first."""
        order = list(range(len(self.examples)))
        if self.choice == "random":
            draw.shuffle(order)
        elif self.choice == "balanced":
            return in_turn([one.output for one in self.examples], draw, shuffled=True)
        elif self.choice == "diverse":
            return _farthest_first(self._vectors) if order else []
        return order

    def _nearest(self, vector: Vector) -> list[int]:
        import numpy as np

        if not len(vector):
            raise ValueError("nearest needs the vector of the input")
        found: list[int] = np.argsort(-(self._vectors @ np.asarray(vector)), kind="stable").tolist()
        return found


def in_turn(classes: Sequence[str], draw: random.Random, *, shuffled: bool = False) -> list[int]:
    """Indices, one of each class in turn, drawn at random; `shuffled`: classes in a new order each round."""
    waiting: dict[str, list[int]] = {}
    for place, name in enumerate(classes):
        waiting.setdefault(name, []).append(place)
    for places in waiting.values():
        draw.shuffle(places)
    order: list[int] = []
    while waiting:
        names = list(waiting)
        if shuffled:
            draw.shuffle(names)
        order += [waiting[name].pop() for name in names]
        waiting = {name: places for name, places in waiting.items() if places}
    return order


def texts(examples: Sequence[Example]) -> list[str]:
    """The text to embed for each example."""
    return [meaning(one.input, one.values) for one in examples]


def meaning(text: str, values: Mapping[str, str] = NOTHING) -> str:
    """The text to embed for an input: its own values, such as a passage, then the input."""
    return "\n".join([*(values[name] for name in sorted(values)), text])


def _key(text: str, values: Mapping[str, str]) -> tuple[str, ...]:
    return (normalised(text), *(f"{name}={normalised(values[name])}" for name in sorted(values)))


def _agrees(example: Example, values: Mapping[str, str]) -> bool:
    """Whether the example's own values equal those of the input, as far as these are known."""
    return all(values.get(name, own) == own for name, one in example.values.items() for own in [normalised(one)])


def _matrix(vectors: Sequence[Vector]) -> Any:
    import numpy as np

    return np.asarray(vectors, dtype=np.float32)


def _farthest_first(vectors: Any) -> list[int]:
    """Indices of `vectors` [N, D], unit length, in greedy k-centre order."""
    import numpy as np

    order = [int(np.argmax(vectors @ vectors.sum(axis=0)))]
    nearness = vectors @ vectors[order[0]]
    while len(order) < len(vectors):
        nearness[order] = np.inf
        order.append(int(np.argmin(nearness)))
        nearness = np.maximum(nearness, vectors @ vectors[order[-1]])
    return order
