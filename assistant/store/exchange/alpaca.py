"""Alpaca's format, `{"instruction": …, "input": …, "output": …}`, as a list or JSON Lines: one exchange each.

An input follows its instruction after a blank line. `history`, pairs of earlier turns, and `system` are read too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from assistant.store.exchange.shape import checked, given, list_of, needed
from assistant.store.exchange.transcript import Transcript, WrongShape
from assistant.store.exchange.turns_in_a_row import in_a_row


def is_one(value: object) -> bool:
    """Whether a value of a file is an exchange of this format."""
    return isinstance(value, dict) and "instruction" in value and ("output" in value or "response" in value)


def read(value: Mapping[str, Any], place: str) -> Transcript:
    """One exchange. Raises `WrongShape`."""
    return Transcript(place, in_a_row(_said(value)), source="alpaca")


def _said(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if system := given(value, "system", ""):
        yield "system", system
    for pair in list_of(value, "history"):
        if len(checked(pair, "history", list)) != 2:
            raise WrongShape(f"a pair of 'history' has {len(pair)} parts")
        yield "user", checked(pair[0], "history", str)
        yield "assistant", checked(pair[1], "history", str)
    asked = [needed(value, "instruction", str), given(value, "input", "") or given(value, "context", "")]
    yield "user", "\n\n".join(filter(None, asked))
    yield "assistant", needed(value, "output" if "output" in value else "response", str)
