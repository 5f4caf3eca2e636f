"""What is counted of a dataset: examples, tokens, lengths, languages."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from finetune import tagging
from finetune.example import Example, Kind
from finetune.tokens import Row, Tokenizer

SURE = 0.5
"""A language that is less likely than this is none that can be told: numbers, code, one word."""
CHINESE = ("zh", "yue", "wuu")
"""Spoken differently, written alike as far as a sentence can tell."""
READ_CHARACTERS = 300


def rows_of(kind: Kind, example: Example, tokenizer: Tokenizer) -> list[Row]:
    """The tokens of an example with what is learned of them: for a preference of both replies, for a label of the
    right word alone."""
    *prompt, last = example.messages
    match kind:
        case "preference":
            return tokenizer.pair(example)
        case "entities":
            return tagging.rows(example, tokenizer)
        case "kto" | "label":
            return tokenizer.alternatives(prompt, [last.content], end=kind == "kto")
    return tokenizer.rows(example)


def of_rows(rows: Sequence[Sequence[Row]]) -> dict[str, Any]:
    """Tokens, those that are learned, and how long the rows are. `rows`: of each example."""
    lengths = sorted(len(row.ids) for some in rows for row in some)
    tokens, learned = sum(lengths), sum(row.supervised for some in rows for row in some)
    return {
        "tokens": tokens,
        "supervised_tokens": learned,
        "supervised_share": round(learned / tokens, 4) if tokens else 0.0,
        "lengths": {name: _quantile(lengths, share) for name, share in _QUANTILES.items()},
    }


_QUANTILES = {"shortest": 0.0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "longest": 1.0}


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[round(share * (len(ordered) - 1))] if ordered else 0


def languages(texts: Iterable[str]) -> dict[str, int]:
    """ISO 639 codes and in how many texts each is spoken, the most frequent first; `?` where it can't be told.

    By py3langid, a kept-up fork of langid.py (Lui and Baldwin 2012): 97 languages from 4.6 MB, and numpy alone.
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
