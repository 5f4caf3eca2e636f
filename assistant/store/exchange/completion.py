"""Prompt and completion, `{"prompt": …, "completion": …}`: JSON Lines or a list, one exchange each.

Either may be text or a list of messages. A `label`, as KTO has it, becomes the rating. Pairs of preferences,
`{"prompt": …, "chosen": …, "rejected": …}`, become siblings with a vote; the chosen one is open.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assistant.store.exchange.openai import turns_of
from assistant.store.exchange.shape import kind_of
from assistant.store.exchange.transcript import Transcript, Turn, Vote, WrongShape
from assistant.store.exchange.turns_in_a_row import in_a_row, judged

_ANSWERS = ("completion", "response")


def is_one(value: object) -> bool:
    """Whether a value of a file is an exchange of this format."""
    return isinstance(value, dict) and "prompt" in value and any(name in value for name in (*_ANSWERS, "chosen"))


def read(value: Mapping[str, Any], place: str) -> Transcript:
    """One exchange. Raises `WrongShape`."""
    left: Counter[str] = Counter()
    asked = _turns(value, "prompt", "user", left)
    if "chosen" in value:
        return _pair(value, place, asked, left)
    name = next((name for name in _ANSWERS if name in value), _ANSWERS[0])
    answer = _turns(value, name, "assistant", left)
    answer[-1:] = [replace(turn, judgement=judged(value.get("label"))) for turn in answer[-1:]]
    return Transcript(place, _below(asked, answer, ""), source="completion", left=left)


def _pair(value: Mapping[str, Any], place: str, asked: list[Turn], left: Counter[str]) -> Transcript:
    chosen = _below(asked, _turns(value, "chosen", "assistant", left), "chosen ")
    rejected = _below(asked, _turns(value, "rejected", "assistant", left), "rejected ")
    if len(chosen) == len(asked) or len(rejected) == len(asked):
        raise WrongShape("an answer is empty")
    vote = Vote(chosen[len(asked)].key, rejected[len(asked)].key)
    turns = chosen + rejected[len(asked) :]
    return Transcript(place, turns, source="preference", votes=(vote,), leaf=chosen[-1].key, left=left)


def _turns(value: Mapping[str, Any], name: str, role: str, left: Counter[str]) -> list[Turn]:
    content = value.get(name)
    if isinstance(content, str):
        return in_a_row([(role, content)])
    if isinstance(content, list):
        return turns_of(content, left)
    raise WrongShape(f"{name!r} is {kind_of(content)}, not text" if name in value else f"it has no {name!r}")


def _below(asked: list[Turn], answer: list[Turn], prefix: str) -> list[Turn]:
    """Both in a row; the keys of the answer become its own by the prefix."""
    last = asked[-1].key if asked else None
    own = prefix or "answer "
    return asked + [
        replace(turn, key=own + turn.key, parent=last if turn.parent is None else own + turn.parent) for turn in answer
    ]
