"""Class probabilities, from how likely a model finds the words that stand for each class.

The words are a verbalizer (Schick and Schütze 2021, arXiv:2001.07676). A word's probability is the geometric mean over
its tokens, so that long words aren't disadvantaged; a class's the mean over its words (Hu et al. 2022,
arXiv:2108.02035).

Small models prefer some words whatever the input. Calibration removes that bias: it divides by the probabilities for
content-free inputs (`contextual`, Zhao et al. 2021, arXiv:2102.09690), by their mean over the given inputs (`batch`,
Zhou et al. 2023, arXiv:2309.17249), or is fitted on labelled inputs (`prompts.calibration`).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Labels = Mapping[str, tuple[str, ...]]
"""Class -> its words, in the template's order."""

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Content-free inputs, as in Zhao et al."""

YES_NO: dict[str, Labels] = {"en": {"yes": ("yes",), "no": ("no",)}, "zh": {"yes": ("是",), "no": ("否", "不是")}}
"""Labels of a `score` template that names none, by language."""


@dataclass(frozen=True)
class Calibration:
    """`log_prior`: natural logarithm for each class, subtracted from `slope` times its score. `method`: its origin."""

    method: str
    log_prior: tuple[float, ...]
    slope: float = 1.0

    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """Class probabilities, which add up to 1, from `class_scores`."""
        return softmax([self.slope * score - prior for score, prior in zip(scores, self.log_prior, strict=True)])


def parse(value: object) -> Labels:
    """Parse `labels` of the front matter: a list of classes, or a table of class -> word or words.

    Raises `ValueError` with a sentence.
    """
    if isinstance(value, list):
        value = {one: one for one in value}
    if not isinstance(value, dict) or len(value) < 2:
        raise ValueError("labels must be a list of two classes or more, or a table of class: [words]")
    labels: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for name, words in value.items():
        several = words if isinstance(words, list) else [words]
        if not _is_text(name) or not several or not all(map(_is_text, several)):
            raise ValueError(
                f"the class {name!r} and its words must be text; put yes, no, true, false and numbers in quotes"
            )
        labels[name] = tuple(dict.fromkeys(several))
        for form in forms(labels[name]):
            if owner.setdefault(form, name) != name:
                raise ValueError(f"the classes {owner[form]!r} and {name!r} share the word {form!r}")
    return labels


def named(text: str) -> list[str]:
    """Classes in a comma-separated list."""
    return [name for part in text.split(",") if (name := part.strip())]


def forms(words: Sequence[str]) -> list[str]:
    """All ways to begin a reply with one of the words: as written, and capitalised."""
    return list(dict.fromkeys(form for word in words for form in (word, word[:1].upper() + word[1:])))


def said(labels: Labels, text: str) -> str:
    """The class whose word is the text, or occurs first in it; empty if none does."""
    owner = {form: name for name, words in labels.items() for form in (name, *words)}
    for form, name in owner.items():
        if form.casefold() == text.strip().casefold():
            return name
    found = [(at.start(), -len(form), form) for form in owner if (at := _whole(form).search(text))]
    return owner[min(found)[2]] if found else ""


def _whole(form: str) -> re.Pattern[str]:
    """Matches a form as a whole word, or anywhere in Chinese. Single letters are case-sensitive: "A" is a label, "a" an
    article.
    """
    ends = [r"(?<![A-Za-z0-9])" if form[0].isascii() else "", r"(?![A-Za-z0-9])" if form[-1].isascii() else ""]
    return re.compile(ends[0] + re.escape(form) + ends[1], re.IGNORECASE if len(form) > 1 else 0)


def continuations(labels: Labels) -> list[str]:
    """All texts to score, class by class."""
    return [form for words in labels.values() for form in forms(words)]


def class_scores(labels: Labels, logprobs: Sequence[Sequence[float]]) -> list[float]:
    """Natural log-probability of each class, from those of the tokens of each of `continuations`."""
    per_form = iter(math.fsum(tokens) / max(1, len(tokens)) for tokens in logprobs)
    return [_log_mean_exp([next(per_form) for _ in forms(words)]) for words in labels.values()]


def uncalibrated(labels: Labels) -> Calibration:
    """No calibration."""
    return Calibration("none", (0.0,) * len(labels))


def contextual(scores: Sequence[Sequence[float]]) -> Calibration:
    """Calibrate by the scores of `CONTENT_FREE` inputs."""
    return Calibration("contextual", _log_mean_probabilities(scores))


def batch(scores: Sequence[Sequence[float]]) -> Calibration:
    """Calibrate by the mean over all given inputs; valid if their classes are about equally frequent."""
    return Calibration("batch", _log_mean_probabilities(scores))


def softmax(scores: Sequence[float]) -> list[float]:
    """Probabilities, which add up to 1."""
    most = max(scores)
    weights = [math.exp(score - most) for score in scores]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _log_mean_probabilities(scores: Sequence[Sequence[float]]) -> tuple[float, ...]:
    columns = zip(*map(softmax, scores), strict=True)
    return tuple(math.log(max(math.fsum(column) / len(scores), 1e-30)) for column in columns)


def _log_mean_exp(values: Sequence[float]) -> float:
    most = max(values)
    return most + math.log(math.fsum(math.exp(value - most) for value in values) / len(values))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
