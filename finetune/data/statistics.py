"""Statistics of a dataset: examples, tokens, lengths, languages."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from finetune import tagging
from finetune.data.example import Example, Kind
from finetune.data.tokens import Cuts, Row, Tokenizer
from finetune.progress import Did, ignore

SURE = 0.5
"""Probability below which a text's language counts as unknown: numbers, code, single words."""
CHINESE = ("zh", "yue", "wuu")
"""Languages counted as Chinese: in writing a sentence often doesn't tell them apart."""
READ_CHARACTERS = 300
COUNTED_CHARACTERS = 1_000_000
"""Characters that are tokenised for the statistics: about a second, a quarter of a million tokens."""


def rows_of(kind: Kind, example: Example, tokenizer: Tokenizer) -> list[Row]:
    """Rows of an example for the statistics: both replies of a preference, only the right word of a label."""
    *prompt, last = example.messages
    match kind:
        case "preference":
            return tokenizer.pair(example)
        case "entities":
            return tagging.rows(example, tokenizer)
        case "kto" | "label":
            return tokenizer.alternatives(prompt, [last.content], end=kind == "kto")
    return tokenizer.rows(example)


def of_tokens(kind: Kind, examples: Sequence[Example], tokenizer: Tokenizer, did: Did = ignore) -> dict[str, Any]:
    """Token statistics: computed tokens (a prefix shared by an example's rows counts once), supervised tokens, row
    lengths, and texts that don't fit in a row.

    Beyond `COUNTED_CHARACTERS` a sample is tokenised, `counted_share` of the text, and counts are extrapolated. `did`
    is called with the characters of each tokenised example.
    """
    lengths, computed, learned, counted = list[int](), 0, 0, 0
    tokenizer.cuts = Cuts()
    for one in sampled(examples):
        rows = rows_of(kind, one, tokenizer)
        lengths += (len(row.ids) for row in rows)
        computed += sum(len(row.ids) - shared for row, shared in zip(rows, _shared(rows), strict=True))
        learned += sum(row.supervised for row in rows)
        counted += one.characters
        did(one.characters)
    whole = sum(one.characters for one in examples)
    scale = whole / counted if counted else 1.0
    tokens = round(scale * computed)
    lengths.sort()
    return {
        "tokens": tokens,
        "supervised_tokens": (learned := round(scale * learned)),
        "supervised_share": round(learned / tokens, 4) if tokens else 0.0,
        "lengths": {name: _quantile(lengths, share) for name, share in _QUANTILES.items()},
        "counted_share": round(1 / scale, 4),
        **{name: round(scale * count) for name, count in asdict(tokenizer.cuts).items()},
    }


def _shared(rows: Sequence[Row]) -> list[int]:
    """For each row the length of its common prefix with the row before it."""
    found = [0] * min(1, len(rows))
    for one, other in pairwise(rows):
        length = min(len(one.ids), len(other.ids))
        differs = np.flatnonzero(one.ids[:length] != other.ids[:length])
        found.append(int(differs[0]) if len(differs) else length)
    return found


def about_tokens(examples: Sequence[Example], tokenizer: Tokenizer) -> int:
    """Tokens of supervised examples, extrapolated for large sets."""
    return int(of_tokens("supervised", examples, tokenizer)["tokens"])


def sampled(examples: Sequence[Example]) -> list[Example]:
    """All examples, or a fixed random sample of about `COUNTED_CHARACTERS`."""
    if sum(one.characters for one in examples) <= COUNTED_CHARACTERS:
        return list(examples)
    order = random.Random("counted").sample(range(len(examples)), len(examples))
    before = accumulate((examples[place].characters for place in order), initial=0)
    return [
        examples[place] for place, characters in zip(order, before, strict=False) if characters < COUNTED_CHARACTERS
    ]


_QUANTILES = {"shortest": 0.0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "longest": 1.0}


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[round(share * (len(ordered) - 1))] if ordered else 0


def languages(texts: Iterable[str]) -> dict[str, int]:
    """ISO 639 code -> number of texts in that language, the most frequent first; `?` if unknown.

    Uses py3langid, a maintained fork of langid.py (Lui and Baldwin 2012): 97 languages in 4.6 MB, needing only numpy.
    """
    return dict(Counter(_language(text[:READ_CHARACTERS]) for text in texts).most_common())


def _language(text: str) -> str:
    language, chance = _identifier().classify(text)
    if chance < SURE:
        return "?"
    return "zh" if language in CHINESE else str(language)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
