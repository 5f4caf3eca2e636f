"""A reply that grows, as the engine, any server, the log and the screen count it."""

from collections.abc import Iterator

import pytest

from assistant import growing
from assistant.events import Event, Finished, Prefilled, Timing, Token, Usage
from assistant.growing import Clock, Growing


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The clock, which a test sets."""
    at = [100.0]
    monkeypatch.setattr(growing, "monotonic", lambda: at[0])
    yield at


def token(text: str, number: int | None = 1) -> Token:
    return Token(text, number, None if number is None else -0.5)


def test_a_clock_counts_from_when_the_prompt_is_read(now: list[float]) -> None:
    clock = Clock(now[0])
    now[0] += 2
    clock.restart(0.5)
    now[0] += 1
    clock.token()
    now[0] += 3
    clock.token()
    assert clock.timing() == Timing(0.0, 1.5, 4.5)


def test_a_reply_that_ends_has_the_figures_of_who_made_it(now: list[float]) -> None:
    reply = Growing(clock=Clock(now[0]))
    for event in (Prefilled(10, read_s=0.25), token("a"), token("b")):
        reply.take(event)
        now[0] += 1
    assert (reply.text, reply.prompt_tokens, reply.tokens) == ("ab", 10, 2)
    assert reply.timing == Timing(0.0, 1.25, 3.25)
    assert reply.tokens_per_s == pytest.approx(0.5)
    reply.take(Finished("stop", Usage(10, 3), Timing(1.0, 0.5, 1.5)))
    assert (reply.tokens, reply.timing, reply.tokens_per_s) == (3, Timing(1.0, 0.5, 1.5), 2.0)


@pytest.mark.parametrize(
    ("events", "tokens", "lengths"),
    [
        ([token("<think>", None), token("a"), token("bc"), token("!", None)], 2, [8, 3]),
        ([token("some words", None), token(" more", None)], 2, []),
        ([token("a"), token(""), token("é")], 3, [1, 0, 1]),
        ([], 0, []),
    ],
)
def test_tokens_are_counted_by_their_ids_or_where_there_are_none_by_pieces(
    events: list[Event], tokens: int, lengths: list[int]
) -> None:
    reply = Growing()
    for event in events:
        reply.take(event)
    assert (reply.tokens, reply.token_lengths) == (tokens, lengths)


def test_a_continued_reply_counts_both_parts(now: list[float]) -> None:
    reply = Growing("Once", tokens_before=4, timing_before=Timing(2.0, 1.0, 3.0), clock=Clock(now[0]))
    reply.take(Prefilled(14))
    now[0] += 0.5
    reply.take(token(" upon"))
    now[0] += 0.5
    assert (reply.text, reply.tokens, reply.prompt_tokens) == ("Once upon", 5, 10)
    assert reply.timing == Timing(2.0, 1.5, 4.0)
    reply.take(Finished("stop", Usage(14, 2), Timing(0.0, 0.5, 2.5)))
    assert (reply.tokens, reply.prompt_tokens) == (6, 10)
    assert reply.timing == Timing(2.0, 1.5, 5.5)
