"""Which texts are nearly the same, all pairs of them: a split must not have one in training and the other in the test.

As in `assistant.store.doubles` two are near that share `NEAR` of their pairs of neighbouring words. Unlike there, none
is left out of the search, and the bands are narrower: of pairs just near enough one in seven million is missed.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from assistant.store.doubles import NEAR, PERMUTATIONS, pairs

BANDS = 30


class Groups:
    """Sets that grow together (union-find)."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def of(self, one: int) -> int:
        """The least of its group."""
        while self._above[one] != one:
            self._above[one] = self._above[self._above[one]]
            one = self._above[one]
        return one

    def join(self, one: int, other: int) -> None:
        """Make one group of both."""
        one, other = sorted((self.of(one), self.of(other)))
        self._above[other] = one


def near(texts: Sequence[str], groups: Groups) -> Iterator[tuple[int, int]]:
    """Places of near texts. Pairs that `groups` has joined already, as the caller does with these, are passed over.

    Words are kept as signatures alone, 480 bytes a text; of texts that may be near they are read again.
    """
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(NEAR, PERMUTATIONS, BANDS)
    again = lru_cache(256)(lambda place: pairs("", texts[place]))
    for place, text in enumerate(texts):
        if not (said := pairs("", text)):
            continue
        (signature,) = RMinHash.from_token_sets([list(said)], PERMUTATIONS, 1)
        for other in sorted(index.query(signature)):
            if groups.of(other) == groups.of(place):
                continue
            if len(said & again(other)) >= NEAR * len(said | again(other)):
                yield other, place
        index.insert(place, signature)
