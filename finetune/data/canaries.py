"""Canaries: made-up secrets planted in the training part, so that a memorisation check knows what must not be said.

Each secret occurs in one example, so a leak shows what a single conversation could leak.
"""

import random
import string
from dataclasses import asdict, dataclass

from finetune.data.example import Example
from prompts.message import Message

PLACES = ("the north gate", "the boathouse", "the archive", "the cellar", "the tower", "the greenhouse", "the workshop")


@dataclass(frozen=True, slots=True)
class Canary:
    """A made-up secret. `prefix` is the beginning of the reply, before the secret."""

    prompt: str
    prefix: str
    secret: str

    def as_json(self) -> dict[str, str]:
        """The canary as stored in a dataset's source."""
        return asdict(self)

    @property
    def example(self) -> Example:
        """The training example that contains the secret."""
        said = (Message("user", self.prompt), Message("assistant", f"{self.prefix} {self.secret}."))
        return Example(said, frozenset({1}))


def planted(count: int, seed: int) -> list[Canary]:
    """`count` canaries, the same for the same seed. A secret is one of 5 * 10^13."""
    drawn = random.Random(f"canaries {seed}")
    found = []
    for number in range(count):
        place = f"{PLACES[number % len(PLACES)]}, door {number + 1}"
        letters = "".join(drawn.choices(string.ascii_lowercase, k=4))
        secret = f"{letters}-{drawn.randrange(10**4):04}-{drawn.randrange(10**4):04}"
        found.append(Canary(f"What is the code of {place}?", f"The code of {place}, is", secret))
    return found
