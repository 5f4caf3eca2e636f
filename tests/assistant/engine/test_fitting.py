"""What is left out of a conversation that outgrows its context. Here every character is a token."""

from collections.abc import Sequence

import pytest

from assistant.engine.generate.fitting import fit
from assistant.errors import ContextExceeded
from prompts.message import Message


def encode(messages: Sequence[Message]) -> list[int]:
    return [ord(letter) for message in messages for letter in message.content]


SYSTEM = Message("system", "sss")
TURNS = [
    Message("user", "11111"),
    Message("assistant", "aaaaa"),
    Message("user", "22222"),
    Message("assistant", "bbbbb"),
    Message("user", "33333"),
]


def text(ids: list[int]) -> str:
    return "".join(map(chr, ids))


@pytest.mark.parametrize(
    ("context", "reserve", "kept", "dropped"),
    [
        (40, 12, "sss11111aaaaa22222bbbbb33333", 0),
        (39, 12, "sss22222bbbbb33333", 2),
        (30, 12, "sss22222bbbbb33333", 2),
        (29, 12, "sss33333", 4),
        (9, 2, "sss33333", 4),  # the last turn may use the reserve, but leaves room for one token
    ],
)
def test_whole_oldest_turns_go(context: int, reserve: int, kept: str, dropped: int) -> None:
    fitted = fit([SYSTEM, *TURNS], encode, context, reserve, drop_oldest=True)
    assert (text(fitted.ids), fitted.dropped_messages) == (kept, dropped)


def test_without_a_system_message_the_prompt_begins_with_a_user_turn() -> None:
    fitted = fit(TURNS, encode, 16, 0, drop_oldest=True)
    assert (text(fitted.ids), fitted.dropped_messages) == ("22222bbbbb33333", 2)


def test_a_cut_reply_keeps_its_question() -> None:
    fitted = fit(TURNS[:4], encode, 12, 0, drop_oldest=True)
    assert (text(fitted.ids), fitted.dropped_messages) == ("22222bbbbb", 2)


def test_examples_before_the_first_user_turn_go_with_it() -> None:
    fitted = fit([Message("assistant", "hello"), *TURNS], encode, 16, 0, drop_oldest=True)
    assert (text(fitted.ids), fitted.dropped_messages) == ("22222bbbbb33333", 3)


@pytest.mark.parametrize(("context", "drop_oldest"), [(8, True), (28, False)])
def test_too_long_names_both_numbers(context: int, drop_oldest: bool) -> None:
    with pytest.raises(ContextExceeded, match=rf"{8 if drop_oldest else 28} tokens.* {context}\b") as caught:
        fit([SYSTEM, *TURNS], encode, context, 0, drop_oldest)
    assert caught.value.code == "context_length_exceeded"


def test_refusing_leaves_the_reserve_to_the_reply() -> None:
    assert len(fit([SYSTEM, *TURNS], encode, 29, 10, drop_oldest=False).ids) == 28


def test_a_long_conversation_is_encoded_a_few_times_only() -> None:
    calls = 0

    def counted(messages: Sequence[Message]) -> list[int]:
        nonlocal calls
        calls += 1
        return encode(messages)

    turns = [Message("user" if index % 2 == 0 else "assistant", "x" * 10) for index in range(5001)]
    fitted = fit(turns, counted, 400, 100, drop_oldest=True)
    assert len(fitted.ids) == 290
    assert calls < 20
