"""Classes and the words that stand for them; how likely each class is by how likely a model says its words.

The words are a verbalizer (Schick and Schütze 2021, arXiv:2001.07676). A word is as likely as its tokens in geometric
mean, so that long ones have the same chance; a class as likely as its words in mean (Hu et al. 2022, arXiv:2108.02035).

A small model has a favourite word, whatever it reads. Calibration takes that bias out: it divides by the probabilities
for inputs that say nothing (`contextual`, Zhao et al. 2021, arXiv:2102.09690) or by their mean over the inputs at hand
(`batch`, Zhou et al. 2023, arXiv:2309.17249), or by what makes labelled ones right (`prompts.fitting`).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Labels = Mapping[str, tuple[str, ...]]
"""Class -> its words, in the template's order."""

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Inputs that say nothing, as in Zhao et al."""

YES_NO: dict[str, Labels] = {"en": {"yes": ("yes",), "no": ("no",)}, "zh": {"yes": ("是",), "no": ("否", "不是")}}
"""What a `score` template asks for where it names no labels, by language."""


@dataclass(frozen=True)
class Calibration:
    """`method` says where `log_prior` comes from: one natural logarithm for each class, taken from `slope` times its
    score.
    """

    method: str
    log_prior: tuple[float, ...]
    slope: float = 1.0

    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """Of the classes, 1 together, from `class_scores`."""
        return softmax([self.slope * score - prior for score, prior in zip(scores, self.log_prior, strict=True)])


def parse(value: object) -> Labels:
    """The labels of a template's front matter: a list of classes, or a table of class -> word or words.

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
    """The classes that a text names, with commas between them, where an input can have several."""
    return [name for part in text.split(",") if (name := part.strip())]


def forms(words: Sequence[str]) -> list[str]:
    """Every way that words may begin a reply: as they are, and with a capital."""
    return list(dict.fromkeys(form for word in words for form in (word, word[:1].upper() + word[1:])))


def said(labels: Labels, text: str) -> str:
    """The class that a text names: by one of its words alone, or by the one that comes first in it; empty for none."""
    owner = {form: name for name, words in labels.items() for form in (name, *words)}
    for form, name in owner.items():
        if form.casefold() == text.strip().casefold():
            return name
    found = [(at.start(), -len(form), form) for form in owner if (at := _whole(form).search(text))]
    return owner[min(found)[2]] if found else ""


def _whole(form: str) -> re.Pattern[str]:
    """A word that is part of no other; Chinese has nothing between words. A single letter is read as it is: "A" is a
    label, "a" an article.
    """
    ends = [r"(?<![A-Za-z0-9])" if form[0].isascii() else "", r"(?![A-Za-z0-9])" if form[-1].isascii() else ""]
    return re.compile(ends[0] + re.escape(form) + ends[1], re.IGNORECASE if len(form) > 1 else 0)


def continuations(labels: Labels) -> list[str]:
    """All texts to be scored, class after class."""
    return [form for words in labels.values() for form in forms(words)]


def class_scores(labels: Labels, logprobs: Sequence[Sequence[float]]) -> list[float]:
    """A natural log-probability for each class, from that of each token of each of `continuations`."""
    per_form = iter(math.fsum(tokens) / max(1, len(tokens)) for tokens in logprobs)
    return [_log_mean_exp([next(per_form) for _ in forms(words)]) for words in labels.values()]


def uncalibrated(labels: Labels) -> Calibration:
    """Scores as they are."""
    return Calibration("none", (0.0,) * len(labels))


def contextual(scores: Sequence[Sequence[float]]) -> Calibration:
    """By the scores of `CONTENT_FREE` inputs."""
    return Calibration("contextual", _log_mean_probabilities(scores))


def batch(scores: Sequence[Sequence[float]]) -> Calibration:
    """By the scores of all inputs at hand: right where their classes are about equally frequent."""
    return Calibration("batch", _log_mean_probabilities(scores))


def softmax(scores: Sequence[float]) -> list[float]:
    """Numbers from 0 to 1, 1 together."""
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
