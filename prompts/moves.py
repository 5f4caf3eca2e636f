"""Single changes of a template that may improve it: instruction, examples, words of its classes, reasoning.

A move has a dimension; moves of different dimensions can be combined.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from prompts.errors import TemplateInvalid
from prompts.examples import Pool
from prompts.labels import Labels, forms
from prompts.rewriting import rewritten
from prompts.template import Example, Template

PHRASINGS = Path(__file__).parent / "phrasings"
REASON = {
    "en": 'First think step by step. Then give the answer on a line of its own that begins with "Answer:".',
    "zh": "先一步一步地思考，然后另起一行，写“答案：”和答案。",
}
REASONED = re.compile(r"[^.。！？!?\n]*(?:step by step|<think>|一步一步|逐步)[^.。！？!?\n]*[.。！？!?]?")
REASONING_TOKENS = 512
MAX_EXAMPLES = 8
"""Most examples to add: more make each request slow."""
DRAWS = 3
"""Random sets of examples of each size."""

Top = tuple[str, float]
"""(token, natural log-probability)."""


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a template; None keeps a part."""

    dimension: str
    about: str
    sections: Mapping[str, str] | None = None
    examples: tuple[Example, ...] | None = None
    labels: Labels | None = None
    reason: bool | None = None


def applied(template: Template, moves: Iterable[Move]) -> Template | None:
    """`template` with all moves; None if the result is invalid or unchanged."""
    sections: Mapping[str, str] = template.sections
    parts: dict[str, Any] = {}
    for move in sorted(moves, key=lambda one: one.reason is not None):  # reasoning is added after other changes
        sections = move.sections if move.sections is not None else sections
        if move.reason is not None:
            sections = _reasoning(sections, move.reason, template.language)
            sampling = {**template.sampling, "max_tokens": REASONING_TOKENS} if move.reason else template.sampling
            parts |= {"more": {"reasoning": move.reason or None, "sampling": dict(sampling)}}
        parts |= {"examples": move.examples} if move.examples is not None else {}
        parts |= {"labels": move.labels} if move.labels is not None else {}
    try:
        found = rewritten(template, sections=sections, **parts)
    except TemplateInvalid:
        return None
    same = (found.sections, found.examples, found.labels) == (template.sections, template.examples, template.labels)
    return None if same else found


def instruction(template: Template) -> str:
    """The instruction: lines of `# user` without variables, else `# system`."""
    plain = [line for line in template.sections.get("user", "").split("\n") if not _variable(line)]
    return "\n".join(plain).strip() or template.sections.get("system", "").strip()


def phrasings(template: Template) -> list[Move]:
    """Instructions from the phrase bank of the template's language and kind."""
    file = PHRASINGS / f"{template.language}.jsonl"
    rows = map(json.loads, (file if file.exists() else PHRASINGS / "en.jsonl").read_text("utf-8").splitlines())
    user = template.sections.get("user", "{{ input }}")
    body = "\n".join(line for line in user.split("\n") if _variable(line)) or user
    put_in = {
        "{body}": body,
        "{user}": user,
        "{classes}": ("、" if template.language == "zh" else ", ").join(words[0] for words in template.labels.values()),
        "{description}": template.description.rstrip(".。"),
    }
    return [
        Move("instruction", f"bank: {row['system'] or row['user']}".replace("\n", " / "), _said(row, put_in))
        for row in rows
        if template.kind in row["kinds"]
    ]


def paraphrased(template: Template, reply: str) -> Move | None:
    """A model's paraphrase of the instruction; None if it can't be used."""
    own = instruction(template)
    lines = [line.strip(" \"'“”*") for line in reply.strip().split("\n") if line.strip()]
    text = lines[0] if lines else ""
    if not text or text == own or len(text) > max(80, 2 * len(own)) or "{" in text or text.startswith("#"):
        return None
    text += own[-1] if own.endswith((":", "：")) and not text.endswith((":", "：", ".", "。", "?", "？")) else ""
    sections = {
        role: source.replace(own, text) if own in source else source for role, source in template.sections.items()
    }
    return Move("instruction", f"model: {text}", sections) if sections != template.sections else None


def example_sets(template: Template, pool: Sequence[Example], seed: int) -> list[Move]:
    """No examples, the template's own in other orders, and sets drawn from the pool, balanced by class."""
    own, moves = template.examples, []
    if own:
        moves.append(Move("examples", "none", examples=()))
    for draw in range(1, DRAWS):
        shuffled = tuple(Random(f"{seed} {draw}").sample(own, len(own)))
        moves += [Move("examples", f"its own, order {draw}", examples=shuffled)] if shuffled != own else []
    classes = max(1, len(template.labels))
    for size in dict.fromkeys((max(2, min(classes, MAX_EXAMPLES)), min(max(4, 2 * classes), MAX_EXAMPLES))):
        for draw in range(DRAWS):
            chosen = tuple(Pool(pool, "balanced", seed=seed + draw).choose(size))
            moves.append(Move("examples", f"{len(chosen)} of the data, draw {draw + 1}", examples=chosen))
            if len(own) + len(chosen) <= MAX_EXAMPLES:
                both = own + chosen
                moves.append(Move("examples", f"its own and {len(chosen)}, draw {draw + 1}", examples=both))
    return moves


def class_words(template: Template, tops: Sequence[tuple[str, Sequence[Top]]]) -> list[Move]:
    """Class words that a model prefers as the first word of its answer, for inputs of one class over the others.

    `tops`: for each input its class and the likeliest first tokens of the answer.
    """
    lifts = _lifts(tops)
    taken = {form for words in template.labels.values() for form in forms(words)}
    best: dict[str, str] = {}
    for name in template.labels:
        fresh = [(lift, word) for word, lift in lifts.get(name, {}).items() if lift > 0 and word not in taken]
        if fresh:
            best[name] = max(fresh)[1]
            taken |= set(forms([best[name]]))
    if not best:
        return []
    more = {name: (*words, *([best[name]] if name in best else [])) for name, words in template.labels.items()}
    moves = [Move("words", f"more: {', '.join(best.values())}", labels=more)]
    if len(best) == len(template.labels):
        only = {name: (word,) for name, word in best.items()}
        moves.append(Move("words", f"instead: {', '.join(best.values())}", labels=only))
    if any(len(words) > 1 for words in template.labels.values()):
        first = {name: words[:1] for name, words in template.labels.items()}
        moves.append(Move("words", "the first of each class only", labels=first))
    return moves


def reasoning(template: Template) -> list[Move]:
    """Reasoning on, or off if the template asks for it; only for kinds that write text."""
    if template.kind not in ("text", "chat"):
        return []
    asked = bool(template.reasoning) or any(REASONED.search(source) for source in template.sections.values())
    return [Move("reasoning", "off" if asked else "on", reason=not asked)]


def _said(row: Mapping[str, Any], put_in: Mapping[str, str]) -> dict[str, str]:
    said: dict[str, str] = {}
    for role in ("system", "user"):
        text = str(row[role])
        for place, value in put_in.items():
            text = text.replace(place, value)
        said |= {role: text} if text else {}
    return said


def _reasoning(sections: Mapping[str, str], on: bool, language: str) -> dict[str, str]:
    if not on:
        ours = re.compile("|".join(map(re.escape, REASON.values())))
        return {role: REASONED.sub("", ours.sub("", source)).strip() for role, source in sections.items()}
    user = sections.get("user", "{{ input }}")
    return {**sections, "user": f"{user}\n{REASON.get(language, REASON['en'])}"}


def _lifts(tops: Sequence[tuple[str, Sequence[Top]]]) -> dict[str, dict[str, float]]:
    """Class -> word -> difference of its mean log-probability between inputs of the class and others."""
    seen = [(name, _words(some)) for name, some in tops]
    lifts: dict[str, dict[str, float]] = {}
    for name in {name for name, _ in seen}:
        inside, outside = ([words for one, words in seen if (one == name) == own] for own in (True, False))
        for word in {word for words in inside for word in words}:
            if outside:
                lifts.setdefault(name, {})[word] = _mean(word, inside) - _mean(word, outside)
    return lifts


def _words(some: Sequence[Top]) -> dict[str, float]:
    """Lower-case word -> log-probability of its likeliest form. "": of the least likely token, for unlisted words."""
    found: dict[str, float] = {"": min((logprob for _, logprob in some), default=-math.inf)}
    for text, logprob in some:
        word = text.strip().lower()
        if word.isalpha() and (len(word) > 1 or not word.isascii()):
            found[word] = max(found.get(word, -math.inf), logprob)
    return found


def _mean(word: str, some: Sequence[Mapping[str, float]]) -> float:
    return sum(words.get(word, words[""]) for words in some) / len(some)


def _variable(line: str) -> bool:
    return "{{" in line or "{%" in line
