"""What the formats of data sets share: messages in a row, each answering the one before."""

from collections.abc import Iterable
from typing import Any

from assistant.store.curation import Judgement
from assistant.store.exchange.transcript import NOT_JUDGED, Turn, WrongShape


def in_a_row(said: Iterable[tuple[str, str]]) -> list[Turn]:
    """The turns of (role, content), each the child of the one before."""
    turns: list[Turn] = []
    for number, (role, content) in enumerate(said):
        turns.append(Turn(str(number), str(number - 1) if number else None, role, content))
    return turns


def judged(label: Any) -> Judgement:
    """A KTO label as a rating; no label, no rating."""
    if label is None:
        return NOT_JUDGED
    if not isinstance(label, bool):
        raise WrongShape(f"'label' is {label!r:.40}, not true or false")
    return Judgement(1 if label else -1)
