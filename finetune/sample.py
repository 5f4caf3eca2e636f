"""Samples of a test part that is larger than what can be asked."""

import random
from collections.abc import Sequence
from itertools import accumulate

from finetune.tokens import Row


def sampled(items: Sequence[Sequence[Row]], most_tokens: int, seed: int) -> list[int]:
    """Which items are asked, in order: by chance as many as have `most_tokens` together, at least one; with 0 all."""
    places = list(range(len(items)))
    if not most_tokens:
        return places
    random.Random(seed).shuffle(places)
    spent = accumulate(tokens_of([items[place]]) for place in places)
    within = [place for place, tokens in zip(places, spent, strict=True) if tokens <= most_tokens]
    return sorted(within or places[:1])


def tokens_of(items: Sequence[Sequence[Row]]) -> int:
    """Tokens of all rows together."""
    return sum(len(row.ids) for rows in items for row in rows)
