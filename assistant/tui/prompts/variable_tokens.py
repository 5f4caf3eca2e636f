"""Which tokens of a prompt each variable of its template became."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate

from prompts.tracing import Traced


def variable_tokens(messages: Sequence[Traced], pieces: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Variable -> the pieces that it touches where it stands last. `pieces` are what the tokens of the prompt of
    `messages` add to its text; a message that the model's chat template changed is passed over.
    """
    prompt = "".join(pieces)
    starts = list(accumulate(map(len, pieces), initial=0))
    found: dict[str, Sequence[str]] = {}
    at = 0
    for told in messages:
        content = told.message.content
        place = prompt.find(content.strip(), at)
        if place < 0:
            continue
        at = place + len(content.strip())
        begin = place - (len(content) - len(content.lstrip()))
        for span in told.spans:
            start, end = max(place, begin + span.start), min(at, begin + span.end)
            found[span.name] = _touched(starts, pieces, start, end)
    return found


def _touched(starts: Sequence[int], pieces: Sequence[str], start: int, end: int) -> Sequence[str]:
    """The pieces with a character from `start` to `end`, those that begin one of these characters among them."""
    if start >= end:
        return ()
    first = bisect_left(starts, start)
    if starts[first] > start:
        first -= 1
    return pieces[first : bisect_left(starts, end)]
