"""A question in other words: frames around it, rewritings of it, and its key words. All of them are data."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("frames.json")
FEWEST_WORDS = 2
"""Key words that stand for a question."""
_CHINESE = re.compile(r"[\u3400-\u9fff]")


def learned(question: str) -> list[str]:
    """The question in the words that training adds to those it was asked in. None of `asked` is among them."""
    language = _language(question)
    made = [frame.format(question=question) for frame in language["learn"]]
    made += [*_rewritten(question, language["rewrite"]), *_key_words(question, language["ignore"])]
    known = {question, *asked(question)}
    return list(dict.fromkeys(one for one in made if one not in known))


def asked(question: str) -> list[str]:
    """The question in three other words, which training never sees."""
    return [frame.format(question=question) for frame in _language(question)["ask"]]


@cache
def _languages() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def _language(question: str) -> dict[str, Any]:
    found: dict[str, Any] = _languages()["zh" if _CHINESE.search(question) else "en"]
    return found


def _rewritten(question: str, rules: list[tuple[str, list[str]]]) -> list[str]:
    """By every rule whose pattern is the whole question; `{1}` is what the first group of the pattern matched."""
    made = []
    for pattern, forms in rules:
        if match := re.match(pattern, question.strip(), re.IGNORECASE):
            parts = [re.sub(r"^\w", lambda one: one[0].lower(), part or "", count=1) for part in match.groups()]
            made += [form.format("", *parts) for form in forms]
    return [one[:1].upper() + one[1:] for one in made]


def _key_words(question: str, ignored: str) -> list[str]:
    """The question without its small words, forwards and backwards; none of a language that isn't split by spaces."""
    small = set(ignored.split())
    words = [one for one in re.findall(r"[\w'-]+", question) if one.lower() not in small] if small else []
    return [" ".join(words), ", ".join(words[::-1])] if len(words) >= FEWEST_WORDS else []
