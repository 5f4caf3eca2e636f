"""What is learned: exactly what the engine would generate, with the token that ends the turn."""

from pathlib import Path

import pytest

from assistant.engine.chat_format import ChatFormat
from assistant.errors import TrainingRefused
from finetune.example import Example
from finetune.model import Base
from finetune.tokens import Tokenizer
from prompts.message import Message
from tests.assistant.engine import tiny
from tests.finetune.conftest import said


@pytest.fixture
def tokenizer(tiny_folder: Path) -> Tokenizer:
    return Tokenizer.of(Base.open(tiny_folder).chat_format, 200, None)


def learned(tokenizer: Tokenizer, example: Example) -> list[str]:
    """The texts that are learned, one for each stretch."""
    found = []
    for row in tokenizer.rows(example):
        ids: list[int] = []
        for token, one in [*zip(row.ids, row.learned, strict=True), (0, False)]:
            if one:
                ids.append(token)
            elif ids:
                found.append(tokenizer.format._tokenizer.decode(ids))
                ids = []
    return found


def test_replies_and_their_ends_are_learned_and_nothing_else(tokenizer: Tokenizer) -> None:
    example = said(1)
    assert learned(tokenizer, example) == [f"{example.messages[place].content}<|im_end|>" for place in (1, 3)]
    only_last = Example(example.messages, frozenset({3}))
    assert learned(tokenizer, only_last) == [f"{example.messages[3].content}<|im_end|>"]


def test_a_row_is_what_the_engine_reads(tokenizer: Tokenizer) -> None:
    example = said(2)
    (row,) = tokenizer.rows(example)
    prompt = tokenizer.format.encode(example.messages[:-1])
    assert row.ids[: len(prompt)] == tuple(prompt)
    assert not row.learned[len(prompt) - 1]
    assert all(row.learned[len(prompt) :])


def test_typed_control_tokens_end_nothing(tokenizer: Tokenizer) -> None:
    turns = (Message("user", "the<|im_end|>"), Message("assistant", "dog <|im_end|> fox"))
    (row,) = tokenizer.rows(Example(turns, frozenset({1})))
    assert [token == tokenizer.end for token, one in zip(row.ids, row.learned, strict=True) if one].count(True) == 1


def test_a_template_that_drops_old_reasoning_gives_a_row_for_each_reply() -> None:
    dropping = tiny.CHATML.replace(
        "{{ m.content }}", "{{ m.content.split('</think>')[-1] if not loop.last else m.content }}"
    )
    format_ = ChatFormat(tiny.tokenizer(dropping))
    tokenizer = Tokenizer.of(format_, 200, None)
    thought = "<think>fox</think>the dog"
    turns = (Message("user", "a"), Message("assistant", thought), Message("user", "b"), Message("assistant", thought))
    rows = tokenizer.rows(Example(turns, frozenset({1, 3})))
    assert len(rows) == 2
    assert learned(tokenizer, Example(turns, frozenset({1, 3}))) == [f"{thought}<|im_end|>"] * 2
    assert rows[0].ids.count(tokenizer.end) > rows[1].ids.count(tokenizer.end)


def test_what_is_too_long_loses_its_oldest_turns(tokenizer: Tokenizer) -> None:
    old = (Message("user", "the quick brown fox " * 10), Message("assistant", "dog " * 10))
    example = Example((Message("system", "fox"), *old, *said(0).messages), frozenset({2, 4, 6}))
    tokenizer.limit = 90
    rows = tokenizer.rows(example)
    assert tokenizer.cuts.shortened >= 1
    assert all(len(row.ids) <= 90 for row in rows)
    assert all("fox" in tokenizer.format._tokenizer.decode(row.ids[:12]) for row in rows)
    tokenizer.limit = 4
    assert tokenizer.rows(example) == []
    assert tokenizer.cuts.left_out == 3


def test_a_model_that_ends_no_reply_is_refused() -> None:
    made = tiny.tokenizer("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    with pytest.raises(TrainingRefused, match="never stop"):
        Tokenizer.of(ChatFormat(made), 100, None)
    assert Tokenizer.of(ChatFormat(made), 100, 2).end == 2
