"""What is counted of a dataset's tokens: what a training computes of it, of many a sample."""

from pathlib import Path

import pytest

from finetune.base import Base
from finetune.data import statistics
from finetune.data.example import Example
from finetune.data.pack import pack
from finetune.data.tokens import Tokenizer
from prompts.message import Message
from tests.finetune.conftest import said


@pytest.fixture
def tokenizer(tiny_folder: Path) -> Tokenizer:
    return Tokenizer.of(Base.open(tiny_folder).chat_format, 200, None)


def test_a_shared_beginning_is_counted_once_as_it_is_computed_once(tokenizer: Tokenizer) -> None:
    turns = [("the dog", "<think>quick</think>fox"), ("the fox", "<think>dog</think>brown")]
    messages = [Message(role, text) for pair in turns for role, text in zip(("user", "assistant"), pair, strict=True)]  # type: ignore[arg-type]
    example = Example(tuple(messages), frozenset({1, 3}))
    rows = tokenizer.rows(example)
    (block,) = pack([rows], 400, "", together=True)
    counted = statistics.of_tokens("supervised", [example], tokenizer)
    assert len(rows) == 2
    assert counted["tokens"] == block.tokens < sum(len(row.ids) for row in rows)
    assert counted["supervised_tokens"] == block.supervised


def test_of_many_examples_a_sample_is_counted(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [said(1 + place % 3) for place in range(300)]
    exact = statistics.of_tokens("supervised", examples, tokenizer)
    monkeypatch.setattr(statistics, "COUNTED_CHARACTERS", sum(one.characters for one in examples) // 4)
    did = list[int]()
    about = statistics.of_tokens("supervised", examples, tokenizer, did.append)
    assert exact["counted_share"] == 1 and about["counted_share"] == pytest.approx(0.25, abs=0.02)
    assert about["tokens"] == pytest.approx(exact["tokens"], rel=0.1)
    assert sum(did) / sum(one.characters for one in examples) == pytest.approx(0.25, abs=0.02)


def test_nothing_is_counted_of_nothing(tokenizer: Tokenizer) -> None:
    counted = statistics.of_tokens("supervised", [], tokenizer)
    assert (counted["tokens"], counted["supervised_share"], counted["counted_share"]) == (0, 0.0, 1.0)
