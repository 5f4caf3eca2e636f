"""Metrics of predictions, by the libraries that define them, which are imported only when needed.

Classes by scikit-learn, entities by seqeval, texts by sacrebleu (chrF, BLEU) and rouge-score; exact match and F1 of
answers as in SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250), each Chinese character a token. Intervals are 95 %
percentile bootstrap over the items; runs on the same items are compared by the interval of their paired differences.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

CONFIDENCE = 0.95
RESAMPLES = 2000
BINS = 10
"""Bins of the expected calibration error, equally wide (Guo et al. 2017, arXiv:1706.04599)."""

Span = tuple[int, int, str]
"""(start, end, type), in characters."""

ARTICLES = re.compile(r"\b(a|an|the)\b")


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of the items' values."""
    import numpy as np

    drawn = _means(np.asarray(values, dtype=float), seed)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def paired(before: Sequence[float], after: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """(difference of the means, low, high) of two values for each item: an improvement is shown if `low` is above 0."""
    differences = [new - old for old, new in zip(before, after, strict=True)]
    return (sum(differences) / len(differences), *interval(differences, seed))


def classification(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """accuracy, macro_f1, micro_f1, majority (accuracy of the most frequent class), per_class, and confusion.

    The confusion matrix has a row for each true and a column for each predicted class, in the order of `classes`.
    """
    from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score

    report = classification_report(truth, predicted, labels=classes, output_dict=True, zero_division=0.0)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, labels=classes, average="macro", zero_division=0.0)),
        "micro_f1": float(f1_score(truth, predicted, labels=classes, average="micro", zero_division=0.0)),
        "majority": max(Counter(truth).values()) / len(truth),
        "per_class": {name: {key: float(value) for key, value in report[name].items()} for name in classes},
        "confusion": confusion_matrix(truth, predicted, labels=classes).tolist(),
    }


def several_labels(
    truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], classes: Sequence[str]
) -> dict[str, Any]:
    """exact_match (all labels of an item are right), macro_f1, micro_f1, per_class."""
    from sklearn.metrics import classification_report

    matrix = [[[int(name in some) for name in classes] for some in rows] for rows in (truth, predicted)]
    report = classification_report(*matrix, target_names=list(classes), output_dict=True, zero_division=0.0)
    return {
        "exact_match": sum(set(a) == set(b) for a, b in zip(truth, predicted, strict=True)) / len(truth),
        "macro_f1": float(report["macro avg"]["f1-score"]),
        "micro_f1": float(report["micro avg"]["f1-score"]),
        "per_class": {name: {key: float(value) for key, value in report[name].items()} for name in classes},
    }


def calibration_error(right: Sequence[bool], confidence: Sequence[float]) -> float:
    """Expected calibration error: mean difference of confidence and accuracy over bins, weighted by their items."""
    bins: dict[int, list[tuple[bool, float]]] = {}
    for pair in zip(right, confidence, strict=True):
        bins.setdefault(min(BINS - 1, int(pair[1] * BINS)), []).append(pair)
    gaps = (abs(sum(hit for hit, _ in some) - sum(sure for _, sure in some)) for some in bins.values())
    return sum(gaps) / len(right)


def entities(texts: Sequence[str], truth: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> dict[str, Any]:
    """precision, recall, f1 of whole entities with their type, by seqeval on characters; per_class."""
    from seqeval.metrics import classification_report

    tags = [[_tags(text, spans) for text, spans in zip(texts, some, strict=True)] for some in (truth, found)]
    report = classification_report(*tags, output_dict=True, zero_division=0)
    names = {"precision": "precision", "recall": "recall", "f1": "f1-score"}
    return {name: float(report["micro avg"][key]) for name, key in names.items()} | {
        "per_class": {
            kind: {key: float(value) for key, value in row.items()}
            for kind, row in report.items()
            if not kind.endswith(" avg")
        }
    }


def span_f1(truth: Sequence[Span], found: Sequence[Span]) -> float:
    """F1 of whole entities with their type, in one text."""
    return 2 * len(set(truth) & set(found)) / (len(truth) + len(found)) if truth or found else 1.0


def written(references: Sequence[str], predicted: Sequence[str], language: str) -> dict[str, float]:
    """exact_match and f1 (0 to 1), chrf and bleu (0 to 100), rouge1, rouge2, rougeL (F, 0 to 1)."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import corpus_bleu, corpus_chrf

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=_Tokenizer())
    pairs = list(zip(references, predicted, strict=True))
    rouges = [scorer.score(reference, said) for reference, said in pairs]
    return {
        "exact_match": sum(exact_match(*pair) for pair in pairs) / len(pairs),
        "f1": sum(token_f1(*pair) for pair in pairs) / len(pairs),
        "chrf": corpus_chrf(predicted, [references]).score,
        "bleu": corpus_bleu(predicted, [references], tokenize="zh" if language == "zh" else "13a").score,
        **{name: sum(one[name].fmeasure for one in rouges) / len(rouges) for name in ("rouge1", "rouge2", "rougeL")},
    }


def exact_match(reference: str, said: str) -> float:
    """1 if the words are equal, ignoring articles, case and punctuation; else 0."""
    return float(_tokens(reference) == _tokens(said))


def token_f1(reference: str, said: str) -> float:
    """F1 of the words, ignoring articles, case and punctuation."""
    wanted, given = _tokens(reference), _tokens(said)
    if not wanted or not given:
        return float(wanted == given)
    both = sum((Counter(wanted) & Counter(given)).values())
    return 2 * both / (len(wanted) + len(given))


def spans(found: Any) -> list[Span]:
    """All objects with `start` and `end` in an extraction, as spans with their `type`."""
    if isinstance(found, Mapping):
        here = []
        if isinstance(found.get("start"), int) and isinstance(found.get("end"), int):
            here.append((found["start"], found["end"], str(found.get("type", "entity"))))
        return here + [span for value in found.values() for span in spans(value)]
    return [span for value in found for span in spans(value)] if isinstance(found, list) else []


def same_json(reference: Any, found: Any) -> float:
    """1 if two values are equal, ignoring `start` and `end`; else 0."""
    return float(json.dumps(_bare(reference), sort_keys=True) == json.dumps(_bare(found), sort_keys=True))


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _bare(one) for key, one in value.items() if key not in ("start", "end")}
    return [_bare(one) for one in value] if isinstance(value, list) else value


def _means(values: Any, seed: int) -> Any:
    import numpy as np

    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    return values[draws].mean(axis=1)


def _tags(text: str, some: Sequence[Span]) -> list[str]:
    """IOB2 tags of the characters. Of overlapping entities the first is kept."""
    tags = ["O"] * max(1, len(text))
    for start, end, kind in sorted(some):
        if 0 <= start < end <= len(text) and all(tag == "O" for tag in tags[start:end]):
            tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return tags


def _tokens(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).lower()
    text = "".join(" " if unicodedata.category(one)[0] == "P" else one for one in text)
    return _words(ARTICLES.sub(" ", text))


def _words(text: str) -> list[str]:
    """Words, with each Chinese or Japanese character as a word."""
    return re.findall(r"[\u3400-\u9fff\u3040-\u30ff]|[^\s\u3400-\u9fff\u3040-\u30ff]+", text)


class _Tokenizer:
    """Tokenizer for rouge-score, whose own drops everything except a to z and 0 to 9."""

    def tokenize(self, text: str) -> list[str]:
        return _tokens(text)
