"""What is learned: exactly what the engine would generate, with the token that ends the turn."""

from pathlib import Path

import numpy as np
import pytest

from assistant.engine.generate.chat_format import ChatFormat
from assistant.errors import TrainingRefused
from finetune.base import Base
from finetune.data.example import Example
from finetune.data.pack import pack
from finetune.data.tokens import Row, Tokenizer
from prompts.message import Message
from tests.assistant.engine import tiny
from tests.finetune.conftest import said


@pytest.fixture
def tokenizer(tiny_folder: Path) -> Tokenizer:
    return Tokenizer.of(Base.open(tiny_folder).chat_format, 200, None)


def learned_in(tokenizer: Tokenizer, row: Row) -> list[str]:
    """The texts of a row that are learned, one for each stretch."""
    edges = np.flatnonzero(np.diff([0, *row.learned.astype(int), 0])).reshape(-1, 2)
    return [tokenizer.format._tokenizer.decode(row.ids[begin:end].tolist()) for begin, end in edges]


def learned(tokenizer: Tokenizer, example: Example) -> list[str]:
    """The same of all rows."""
    return [text for row in tokenizer.rows(example) for text in learned_in(tokenizer, row)]


def test_replies_and_their_ends_are_learned_and_nothing_else(tokenizer: Tokenizer) -> None:
    example = said(1)
    assert learned(tokenizer, example) == [f"{example.messages[place].content}<|im_end|>" for place in (1, 3)]
    only_last = Example(example.messages, frozenset({3}))
    assert learned(tokenizer, only_last) == [f"{example.messages[3].content}<|im_end|>"]


def test_questions_are_learned_with_their_replies(tokenizer: Tokenizer) -> None:
    tokenizer.questions = True
    said = [Message("system", "S"), *(Message(("user", "assistant")[turn % 2], f"said {turn}") for turn in range(6))]
    (row,) = tokenizer.rows(Example(tuple(said), frozenset({2, 6})))
    learned = tokenizer.format._tokenizer.decode(row.ids[row.learned].tolist())
    assert [f"said {turn}" in learned for turn in range(6)] == [True, True, False, False, True, True]
    assert "S" not in learned.replace("said", "")


def test_a_row_is_what_the_engine_reads(tokenizer: Tokenizer) -> None:
    example = said(2)
    (row,) = tokenizer.rows(example)
    prompt = tokenizer.format.encode(example.messages[:-1])
    assert row.ids[: len(prompt)].tolist() == prompt
    assert not row.learned[len(prompt) - 1]
    assert all(row.learned[len(prompt) :])


def test_typed_control_tokens_end_nothing(tokenizer: Tokenizer) -> None:
    turns = (Message("user", "the<|im_end|>"), Message("assistant", "dog <|im_end|> fox"))
    (row,) = tokenizer.rows(Example(turns, frozenset({1})))
    assert (row.ids[row.learned] == tokenizer.end).sum() == 1


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
    assert [int((row.ids == tokenizer.end).sum()) for row in rows] == [2, 4]


def talk(exchanges: int, words: int, system: str = "fox") -> Example:
    """A conversation with numbered replies, all of them learned."""
    said = [Message("system", system)] if system else []
    for number in range(exchanges):
        said += [Message("user", "quick " * words), Message("assistant", f"{number} " + "dog " * words)]
    return Example(tuple(said), frozenset(place for place, one in enumerate(said) if one.role == "assistant"))


@pytest.mark.parametrize(("exchanges", "words"), [(1, 3), (6, 5), (40, 3), (200, 3), (60, 12)])
@pytest.mark.parametrize("system", ["fox", ""])
def test_windows_hold_each_reply_once_with_what_is_before_it(
    tokenizer: Tokenizer, exchanges: int, words: int, system: str
) -> None:
    tokenizer.limit = 200
    example = talk(exchanges, words, system)
    rows = tokenizer.rows(example)
    raw = len(tokenizer.format.encode(example.messages))
    texts = [text for row in rows for text in learned_in(tokenizer, row)]
    assert texts == [f"{example.messages[place].content}<|im_end|>" for place in sorted(example.trained)]
    assert all(len(row.ids) <= 200 for row in rows)
    head = tokenizer.format.encode([Message("system", system), Message("user", "")])[:5] if system else []
    assert all(row.ids[: len(head)].tolist() == head for row in rows)
    for row in rows[1:]:
        assert int(row.learned.argmax()) >= tokenizer.context
    computed = sum(len(row.ids) for row in rows)
    assert computed <= raw if len(rows) == 1 else computed <= 1.7 * raw
    assert tokenizer.cuts.windows == (len(rows) > 1)


def test_windows_are_what_the_engine_reads(tokenizer: Tokenizer) -> None:
    tokenizer.limit = 200
    example = talk(30, 4)
    by_text = {one.content: place for place, one in enumerate(example.messages) if one.role == "assistant"}
    for row in tokenizer.rows(example):
        last = by_text[learned_in(tokenizer, row)[-1].removesuffix("<|im_end|>")]
        begin = next(
            start
            for start in range(1, last)
            if len(tokenizer.format.encode([example.messages[0], *example.messages[start:last]])) < len(row.ids)
        )
        prompt = tokenizer.format.encode([example.messages[0], *example.messages[begin:last]])
        assert row.ids[: len(prompt)].tolist() == prompt


def test_a_long_conversation_costs_no_more_a_turn_than_a_short_one(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the template is applied to, and what is tokenised, grows with the conversation alone."""
    tokenizer.limit = 200
    rendered: list[int] = []
    apply = ChatFormat._applied

    def counted(self: ChatFormat, turns: list[dict[str, str]]) -> str:
        rendered.append(len(turns))
        return apply(self, turns)

    monkeypatch.setattr(ChatFormat, "_applied", counted)
    costs = []
    for exchanges in (50, 500):
        rendered.clear()
        tokenizer.rows(talk(exchanges, 3))
        costs.append(sum(rendered) / exchanges)
    assert costs[1] < 1.2 * costs[0]


def test_an_exchange_longer_than_a_row_is_learned_in_pieces(tokenizer: Tokenizer) -> None:
    tokenizer.limit = 90
    reply = " ".join(str(number) for number in range(60))
    question = "quick brown " * 40
    example = Example(
        (Message("system", "fox"), Message("user", question), Message("assistant", reply)), frozenset({2})
    )
    rows = tokenizer.rows(example)
    assert len(rows) > 1
    assert all(len(row.ids) <= 90 for row in rows)
    assert "".join(text for row in rows for text in learned_in(tokenizer, row)) == f"{reply}<|im_end|>"
    head = tokenizer.format.encode(example.messages[:1])[:4]
    assert all(row.ids[:4].tolist() == head and row.learned.argmax() >= tokenizer.context for row in rows)
    assert tokenizer.cuts.shortened == 1


def test_the_two_replies_of_a_preference_lose_their_oldest_turns(tokenizer: Tokenizer) -> None:
    tokenizer.limit = 90
    long = talk(20, 3)
    chosen, rejected = tokenizer.pair(Example(long.messages, frozenset({40}), rejected="fox"))
    assert len(chosen.ids) <= 90
    prompt = int(chosen.learned.argmax())
    assert chosen.ids[:prompt].tolist() == rejected.ids[:prompt].tolist()
    assert prompt > 60
    assert tokenizer.cuts.shortened == 1
    alone = Example((Message("user", "quick " * 200), Message("assistant", "dog")), frozenset({1}), rejected="fox")
    assert len(tokenizer.pair(alone)[0].ids) == 90
    endless = Example((Message("user", "a"), Message("assistant", "dog " * 200)), frozenset({1}), rejected="fox")
    assert tokenizer.pair(endless) == []
    assert tokenizer.cuts.too_long == 1


def test_old_reasoning_is_read_by_no_later_reply(tokenizer: Tokenizer) -> None:
    thought = "<think>fox</think>the dog"
    turns = [Message(role, thought if role == "assistant" else "a") for role in ("user", "assistant") * 3]
    first, second, third = tokenizer.rows(Example(tuple(turns), frozenset({1, 3, 5})))  # type: ignore[arg-type]
    for number, row in enumerate((first, second, third)):
        text = tokenizer.format._tokenizer.decode(row.ids.tolist())
        assert text.count("<think>") == 1
        assert text.count("the dog") == number + 1
        assert learned_in(tokenizer, row) == [f"{thought}<|im_end|>"]


def thoughtful(turns: int, words: int = 5) -> Example:
    """So many exchanges, every other reply after reasoning of so many words."""
    said = [Message("system", "fox")]
    for turn in range(turns):
        thought = f"<think>{'dog ' * words}</think>" if turn % 2 else ""
        said += [Message("user", f"the {turn}"), Message("assistant", f"{thought}quick {turn}")]
    return Example(tuple(said), frozenset(range(2, len(said), 2)))


@pytest.mark.parametrize("words", [1, 5, 60, 400])
def test_reasoning_is_learned_once_after_what_the_engine_reads(tokenizer: Tokenizer, words: int) -> None:
    example, form = thoughtful(24, words), tokenizer.format
    rows, found = tokenizer.rows(example), list[str]()
    assert max(len(row.ids) for row in rows) <= tokenizer.limit
    for row in rows:
        edges = np.flatnonzero(np.diff([0, *row.learned.astype(int), 0])).reshape(-1, 2)
        for begin, end in edges.tolist():
            found.append(form._tokenizer.decode(row.ids[begin:end].tolist()))
            for place in example.trained:
                if found[-1] == f"{example.messages[place].content}<|im_end|>":
                    reads = [form.encode([example.messages[0], *example.before(place)[at:]]) for at in range(1, place)]
                    reply = form.encode_reply(reads[0], example.messages[place].content)
                    assert row.ids[:end].tolist() in [[*before, *reply, tokenizer.end] for before in reads]
    replies = [form.encode_reply([], example.messages[place].content) for place in example.trained]
    assert sum(row.supervised for row in rows) == sum(len(ids) + 1 for ids in replies)
    assert words == 400 or len(found) == len(replies)  # the longest are learned in pieces


def test_the_cost_of_reasoning_is_linear(tokenizer: Tokenizer) -> None:
    """What is computed of a conversation of reasoned replies, shared beginnings once."""

    def computed(turns: int) -> int:
        return sum(block.tokens for block in pack([tokenizer.rows(thoughtful(turns))], 200, "0"))

    raw = len(tokenizer.format.encode(thoughtful(400).messages))
    assert computed(400) < 2.2 * computed(200)
    assert computed(400) < 2 * raw


def test_templates_without_control_tokens_have_windows_too() -> None:
    made = tiny.tokenizer("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    tokenizer = Tokenizer.of(ChatFormat(made), 200, 2)
    example = talk(40, 3)
    rows = tokenizer.rows(example)
    assert len(rows) > 3
    assert all(len(row.ids) <= 200 for row in rows)
    assert sum(int((row.ids == 2).sum()) for row in rows) == len(example.trained)


def test_a_model_that_ends_no_reply_is_refused() -> None:
    made = tiny.tokenizer("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    with pytest.raises(TrainingRefused, match="never stop"):
        Tokenizer.of(ChatFormat(made), 100, None)
    assert Tokenizer.of(ChatFormat(made), 100, 2).end == 2
