"""Which worked examples are said before an input: chosen from a pool of them, never the input itself.

Nothing here runs a model. Where a choice goes by meaning, its vectors come from outside:

    pool = Pool(examples, "nearest", vectors=embed(texts(examples)))
    chosen = pool.choose(4, text, vector=embed([text])[0])

All choices but `nearest` are the same for every input, so that an engine reads their prompt once.
"""

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from prompts.filters import normalised
from prompts.template import Example

CHOICES = ("first", "random", "balanced", "nearest", "diverse")
BY_MEANING = ("nearest", "diverse")
"""Those that need vectors."""

Vector = Sequence[float]
"""What a text means; of length 1."""

NOTHING: Mapping[str, str] = MappingProxyType({})


class Pool:
    """Examples and a way to choose among them.

    - `first`: as they stand
    - `random`: drawn with `seed`
    - `balanced`: of each output as many as of the others, drawn with `seed`
    - `nearest`: nearest in meaning to the input, the nearest said last (Liu et al. 2022, arXiv:2101.06804)
    - `diverse`: each as far from those before it as can be (greedy k-centre, Gonzalez 1985), from the most central on

    An example that is there twice counts once.
    """

    def __init__(
        self, examples: Sequence[Example], choice: str = "first", *, seed: int = 0, vectors: Sequence[Vector] = ()
    ) -> None:
        """`vectors`: one for each of `examples`, needed by the choices `BY_MEANING`. Raises `ValueError`."""
        if choice not in CHOICES:
            raise ValueError(f"choice is {choice!r}, but must be one of {', '.join(CHOICES)}")
        if choice in BY_MEANING and len(vectors) != len(examples):
            raise ValueError(f"{choice} needs a vector for each of {len(examples)} examples, not {len(vectors)}")
        once = {(*_key(one.input, one.values), one.output): at for at, one in reversed(list(enumerate(examples)))}
        kept = sorted(once.values())
        self.choice, self.seed = choice, seed
        self.examples = [examples[at] for at in kept]
        self.inputs = {name for one in self.examples for name in one.values}
        """Names of the inputs that examples have values of their own for."""
        self._inputs = [normalised(one.input) for one in self.examples]
        self._vectors = _matrix([vectors[at] for at in kept]) if choice in BY_MEANING and kept else None
        self._order = self._preferred(random.Random(seed))

    def choose(
        self, count: int, text: str = "", values: Mapping[str, str] = NOTHING, vector: Vector = ()
    ) -> list[Example]:
        """At most `count` examples for the input `text` with `values`, in the order to say them.

        A smaller `count` leaves out those that the larger one wanted least. `nearest` needs the input's `vector`.
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
        """All examples, the most wanted first."""
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
    """All places, one of each class in turn, drawn by chance; `shuffled`: the classes in another order each round."""
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
    """What the vector of each example is made of."""
    return [meaning(one.input, one.values) for one in examples]


def meaning(text: str, values: Mapping[str, str] = NOTHING) -> str:
    """What the vector of an input is made of: its own values, such as a passage, and the input."""
    return "\n".join([*(values[name] for name in sorted(values)), text])


def _key(text: str, values: Mapping[str, str]) -> tuple[str, ...]:
    return (normalised(text), *(f"{name}={normalised(values[name])}" for name in sorted(values)))


def _agrees(example: Example, values: Mapping[str, str]) -> bool:
    """Whether all values that an example has of its own are those of the input, as far as these are known."""
    return all(values.get(name, own) == own for name, one in example.values.items() for own in [normalised(one)])


def _matrix(vectors: Sequence[Vector]) -> Any:
    import numpy as np

    return np.asarray(vectors, dtype=np.float32)


def _farthest_first(vectors: Any) -> list[int]:
    """`vectors` is [N, D], each of length 1: far apart is a small product."""
    import numpy as np

    order = [int(np.argmax(vectors @ vectors.sum(axis=0)))]
    nearness = vectors @ vectors[order[0]]
    while len(order) < len(vectors):
        nearness[order] = np.inf
        order.append(int(np.argmin(nearness)))
        nearness = np.maximum(nearness, vectors @ vectors[order[-1]])
    return order
