"""Which texts are nearly the same, all pairs of them: a split must not have one in training and the other in the test.

As in `assistant.store.judgements.doubles` two are near that share `NEAR` of their pairs of neighbouring words. Unlike
there, none is left out of the search, and the bands are narrower: of pairs just near enough one in seven million is
missed.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from assistant.store.judgements.doubles import NEAR, PERMUTATIONS, pairs

BANDS = 30

BATCH_CHARACTERS = 1_000_000
"""Of texts whose signatures are made at once, in several threads; their pairs of words take some 20 MB."""


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

    index, places = RMinHashLSH(NEAR, PERMUTATIONS, BANDS), list[int]()
    again = lru_cache(256)(lambda place: pairs("", texts[place]))
    for some in _batches(texts):
        matrix = RMinHash.digest_matrix_from_token_sets([list(said) for said in some.values()], PERMUTATIONS, 1)
        flags = index.insert_matrix_and_query_duplicate_flags(matrix, len(places))
        places += some
        for place, flag in zip(some, flags, strict=True):
            if not flag:
                continue
            said = some[place]
            (signature,) = RMinHash.from_token_sets([list(said)], PERMUTATIONS, 1)
            for other in sorted(places[key] for key in index.query(signature)):
                if other >= place:
                    break
                if groups.of(other) == groups.of(place):
                    continue
                if len(said & again(other)) >= NEAR * len(said | again(other)):
                    yield other, place


def _batches(texts: Sequence[str]) -> Iterator[dict[int, set[str]]]:
    """Place -> pairs of words, of as many texts at a time as have `BATCH_CHARACTERS`."""
    batch, characters = dict[int, set[str]](), 0
    for place, text in enumerate(texts):
        if said := pairs("", text):
            batch[place] = said
            characters += len(text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = {}, 0
    if batch:
        yield batch
