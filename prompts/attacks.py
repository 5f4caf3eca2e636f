"""Perturbations of an input: harmless changes that should not change the answer, and injections to be ignored.

Injections are lines of `attack_patterns/LANGUAGE.jsonl`: `{target}` stands for the answer they demand, `{input}` for
the text (which comes first by default). `LANGUAGE-wording.json` beside them has the words for the changes. The same
random numbers give the same changes.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

PATTERNS = Path(__file__).parent / "attack_patterns"
MARKER = {"en": "pineapple", "zh": "菠萝"}
"""Word that an injection demands if there are no classes."""

OPTION = re.compile(r"^([A-Z])([.．、)）:：]\s*)(.+)$")
HAN = re.compile(r"[\u3400-\u9fff]")
WORDS_A_TYPO = 8
HAN_A_TYPO = 15
"""One typo for this many words or characters, and at least one."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A perturbation. `pattern`: an injection; empty for a harmless change."""

    name: str
    family: str
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Attacked:
    """A perturbed input. `originally`: class -> the class of the unperturbed input that it corresponds to."""

    text: str
    originally: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """One item under one attack, compared with the unperturbed item; both values are of the main measure, 0 to 1."""

    attack: Attack
    item: int
    clean: float
    value: float
    flipped: bool
    obeyed: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """Effect of an attack or a family of attacks. `difference`: of the means over items, with its interval."""

    name: str
    trials: int
    flipped: float
    obeyed: float
    difference: float
    low: float
    high: float


def attacks(language: str) -> list[Attack]:
    """All attacks: the changes, then the injections in that language, or in English if it has none."""
    lines = (PATTERNS / f"{_known(language)}.jsonl").read_text("utf-8").splitlines()
    found = [Attack(name, name) for name in CHANGES]
    for number, row in enumerate(map(json.loads, lines), 1):
        found.append(Attack(f"{row['family']} {number}", row["family"], row["text"]))
    return found


def attacked(attack: Attack, text: str, target: str, language: str, random: Random) -> Attacked | None:
    """The perturbed text; None if the attack can't change it."""
    if not attack.pattern:
        changed = CHANGES[attack.name](text, _known(language), random)
        return None if changed is None or changed.text == text else changed
    order = attack.pattern.replace("{target}", target)
    return Attacked(order.replace("{input}", text) if "{input}" in order else f"{text}\n{order}")


def effect(name: str, trials: Sequence[Trial]) -> Effect:
    """The effect of an attack or a family. Each item counts once, by the mean of its trials."""
    from prompts.metrics import paired

    items: dict[int, list[Trial]] = {}
    for trial in trials:
        items.setdefault(trial.item, []).append(trial)
    clean = [some[0].clean for some in items.values()]
    bent = [sum(one.value for one in some) / len(some) for some in items.values()]
    flipped = sum(one.flipped for one in trials) / len(trials)
    obeyed = sum(one.obeyed for one in trials) / len(trials)
    return Effect(name, len(trials), flipped, obeyed, *paired(clean, bent))


def _typos(text: str, _language: str, random: Random) -> Attacked:
    """Letters swapped, lost or doubled; Chinese characters replaced by similar ones, doubled or lost."""
    confusable: dict[str, str] = {one: group for group in _wording("zh")["confusable"] for one in group}
    pieces = re.split(r"([A-Za-z]{4,}|[\u3400-\u9fff])", text)
    words = [at for at, piece in enumerate(pieces) if piece.isascii() and len(piece) > 3 and piece.isalpha()]
    han = [at for at, piece in enumerate(pieces) if HAN.fullmatch(piece)]
    for at in random.sample(words, _count(words, WORDS_A_TYPO)):
        word, place = pieces[at], random.randrange(1, len(pieces[at]) - 1)
        pair = word[place : place + 2]
        pieces[at] = word[:place] + random.choice((pair[::-1], pair[1:], pair[0] + pair)) + word[place + 2 :]
    for at in random.sample(han, _count(han, HAN_A_TYPO)):
        others = confusable.get(pieces[at], "").replace(pieces[at], "")
        pieces[at] = random.choice(others) if others else random.choice(("", pieces[at] * 2))
    return Attacked("".join(pieces))


def _width(text: str, _language: str, _random: Random) -> Attacked:
    """Full-width letters, digits and punctuation replaced by half-width ones."""
    return Attacked(unicodedata.normalize("NFKC", text))


def _reworded(text: str, language: str, _random: Random) -> Attacked:
    """All words and contractions with a known synonym replaced by it."""
    same: dict[str, str] = dict(_wording(language)["rewordings"])
    edge = "" if language == "zh" else r"\b"
    pattern = edge + "(" + "|".join(map(re.escape, sorted(same, key=len, reverse=True))) + ")" + edge

    def other(found: re.Match[str]) -> str:
        word = found[0]
        new = same.get(word) or same.get(word.lower(), word)
        return new[:1].upper() + new[1:] if word[:1].isupper() else new

    return Attacked(re.sub(pattern, other, text, flags=re.IGNORECASE))


def _reordered(text: str, _language: str, random: Random) -> Attacked | None:
    """Options `A. …` shuffled, with the letters in order."""
    lines = text.split("\n")
    places = [at for at, line in enumerate(lines) if OPTION.match(line)]
    found = [match for at in places if (match := OPTION.match(lines[at]))]
    if len(found) < 2:
        return None
    shuffled = random.sample(found, len(found))
    if shuffled == found:
        shuffled = shuffled[1:] + shuffled[:1]
    for at, old, new in zip(places, found, shuffled, strict=True):
        lines[at] = old[1] + old[2] + new[3]
    return Attacked("\n".join(lines), {old[1]: new[1] for old, new in zip(found, shuffled, strict=True)})


def _before(text: str, language: str, random: Random) -> Attacked:
    return Attacked(f"{random.choice(_wording(language)['distractors'])}{_space(language)}{text}")


def _after(text: str, language: str, random: Random) -> Attacked:
    return Attacked(f"{text}{_space(language)}{random.choice(_wording(language)['distractors'])}")


CHANGES: dict[str, Callable[[str, str, Random], Attacked | None]] = {
    "typos": _typos,
    "upper case": lambda text, _language, _random: Attacked(text.upper()),
    "lower case": lambda text, _language, _random: Attacked(text.lower()),
    "half width": _width,
    "rewording": _reworded,
    "option order": _reordered,
    "distractor before": _before,
    "distractor after": _after,
}


def _count(places: Sequence[int], each: int) -> int:
    return min(len(places), max(1, len(places) // each))


def _space(language: str) -> str:
    return "" if language == "zh" else " "


def _known(language: str) -> str:
    return language if (PATTERNS / f"{language}.jsonl").exists() else "en"


@cache
def _wording(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PATTERNS / f"{language}-wording.json").read_text("utf-8"))
    return found
