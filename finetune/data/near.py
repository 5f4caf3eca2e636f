"""Pairs of near-duplicate texts, so that a split keeps them in the same part.

As in `assistant.store.judgements.doubles` two texts are near-duplicates if they share `NEAR` of their word pairs.
Unlike there, every pair is searched for, with narrower bands: at the threshold one pair in seven million is missed.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from assistant.store.judgements.doubles import NEAR, PERMUTATIONS, pairs

BANDS = 30

BATCH_CHARACTERS = 1_000_000
"""Characters of texts whose signatures are computed in one call, in several threads; takes some 20 MB."""


class Groups:
    """Disjoint sets (union-find)."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def of(self, one: int) -> int:
        """Smallest member of the set that contains `one`."""
        while self._above[one] != one:
            self._above[one] = self._above[self._above[one]]
            one = self._above[one]
        return one

    def join(self, one: int, other: int) -> None:
        """Merge the sets of two members."""
        one, other = sorted((self.of(one), self.of(other)))
        self._above[other] = one


def near(texts: Sequence[str], groups: Groups) -> Iterator[tuple[int, int]]:
    """Indices of near-duplicates. Skips pairs in the same group of `groups`, into which the caller joins each pair.

    Only signatures are kept, 480 bytes a text; the texts of possible pairs are read again.
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
    """Index -> word pairs, for texts of about `BATCH_CHARACTERS` at a time."""
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
