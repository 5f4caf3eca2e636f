"""Scores against a plain forward pass over prompt and continuation, and what embedding gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from assistant.engine.engine import Engine
from assistant.engine.generate import scoring
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.scoring import Tree
from assistant.errors import ContextExceeded, RequestRefused
from assistant.events import Prefilled, Token
from prompts.message import Message
from tests.assistant.engine import ask, tiny

PROMPT = [Message("system", "Be brief."), Message("user", "the quick brown fox: 你好")]
LABELS = ["good", "bad", "very good", "very bad indeed", "好", "x", "very good"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return lambda kind: tiny.save(tmp_path_factory.mktemp(kind), kind)


def test_a_tree_tells_common_beginnings_once() -> None:
    tree = Tree()
    assert [tree.add(ids) for ids in ([1, 2, 3], [1, 2, 4], [5], [], [1, 2, 3])] == [
        [0, 1, 2],
        [0, 1, 3],
        [4],
        [],
        [0, 1, 2],
    ]
    assert (tree.ids, tree.parents) == ([1, 2, 3, 4, 5], [-1, 0, 1, 1, -1])


@pytest.mark.parametrize("nodes", [scoring.MOST_NODES, 5])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral-window", "gpt2"])
@torch.inference_mode()
def test_scores_are_those_of_a_plain_forward(
    folder: Callable[[str], Path], kind: str, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MOST_NODES", nodes)
    engine = Engine.load(path := folder(kind), dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    prompt = engine.chat_format.encode(PROMPT)
    for scores, label in zip(ask.score(engine, PROMPT, LABELS), LABELS, strict=True):
        ids = engine.chat_format.encode_following(label)
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(scores), expected, rtol=1e-4, atol=1e-4)


def test_scoring_leaves_the_conversation_as_it_was(folder: Callable[[str], Path]) -> None:
    engine = Engine.load(folder("llama"), dtype="float32")
    greedy = Sampling(temperature=0, max_tokens=10)
    before = list(ask.chat(engine, PROMPT, greedy))
    ask.score(engine, PROMPT, LABELS)
    after = list(ask.chat(engine, PROMPT, greedy))
    assert [one.id for one in after if isinstance(one, Token)] == [one.id for one in before if isinstance(one, Token)]
    (begun,) = [event for event in after if isinstance(event, Prefilled)]
    assert begun.cached_tokens == begun.prompt_tokens - 1


def test_too_long_to_score(folder: Callable[[str], Path]) -> None:
    engine = Engine.load(folder("llama"), dtype="float32")
    with pytest.raises(ContextExceeded, match="256"):
        ask.score(engine, PROMPT, ["x " * 300])
    assert ask.score(engine, PROMPT, []) == []


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_embedding(folder: Callable[[str], Path], kind: str) -> None:
    engine = Engine.load(folder(kind), dtype="float32")
    one, other, again = ask.embed(engine, ["the quick fox", "完全不同", "the quick fox"])
    assert one == again != other
    assert len(one) == 32
    assert sum(x * x for x in one) == pytest.approx(1)
    with pytest.raises(ContextExceeded):
        ask.embed(engine, ["x " * 300])


def reread(engine: Engine, reply: str | list[int], top: int = 3) -> tuple[Token, ...]:
    return ask.reread(engine, PROMPT, reply, top).tokens


@pytest.mark.parametrize("nodes", [scoring.MOST_NODES, 3])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_reply_is_read_again_as_it_was_made(
    folder: Callable[[str], Path], kind: str, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MOST_NODES", nodes)
    engine = Engine.load(folder(kind), dtype="float32")
    sampling = Sampling(temperature=2.0, top_k=0, top_p=1.0, seed=5, max_tokens=12, top_logprobs=3)
    made = [event for event in ask.chat(engine, PROMPT, sampling) if isinstance(event, Token) and event.id is not None]
    again = reread(engine, [token.id for token in made if token.id is not None])
    assert [token.id for token in again] == [token.id for token in made]
    for one, other in zip(again, made, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert [top.id for top in one.top] == [top.id for top in other.top]
        assert [top.text for top in one.top] == [top.text for top in other.top]


def test_a_text_is_read_again_as_its_tokens(folder: Callable[[str], Path]) -> None:
    engine = Engine.load(folder("llama"), dtype="float32")
    for label, scores in zip(LABELS, ask.score(engine, PROMPT, LABELS), strict=True):
        tokens = reread(engine, label, 0)
        assert "".join(token.text for token in tokens) == label
        assert [token.logprob for token in tokens] == pytest.approx(scores, abs=1e-4)
        assert all(token.top == () for token in tokens)
    with pytest.raises(RequestRefused, match="no token 99999"):
        reread(engine, [99999])
    with pytest.raises(ContextExceeded):
        reread(engine, "x " * 300)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_pieces_of_tokens_make_the_text_again(folder: Callable[[str], Path], kind: str) -> None:
    engine = Engine.load(folder(kind), dtype="float32")
    texts = ["the quick 好 fox 🦊", "x"]
    told = ask.tokenize(engine, PROMPT, texts)
    assert list(told.ids[0]) == engine.chat_format.encode(PROMPT)
    assert ["".join(pieces) for pieces in told.pieces[1:]] == texts
    assert [len(ids) for ids in told.ids] == [len(pieces) for pieces in told.pieces]
    assert told.context_tokens == 256


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_token_without_a_row_in_the_embedding_is_refused(
    folder: Callable[[str], Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer may have more tokens than the model."""
    path = folder(kind)
    larger = AutoTokenizer.from_pretrained(path)
    larger.add_tokens([f"<more{number}>" for number in range(30)])
    larger.save_pretrained(path)
    engine = Engine.load(path, dtype="float32")
    network, greedy = engine._model.network, Sampling(temperature=0, max_tokens=3)
    assert network.vocabulary == tiny.VOCABULARY < len(larger)
    for wrong in (tiny.VOCABULARY, -1):
        with pytest.raises(RequestRefused, match=f"no token {wrong}: its embedding has 320 rows"):
            ask.reread(engine, PROMPT, [wrong], 0)
    assert list(ask.chat(engine, PROMPT, greedy))
    monkeypatch.setattr(type(network), "vocabulary", 100)
    for act in (
        lambda: ask.chat(engine, PROMPT, greedy),
        lambda: ask.complete(engine, "the quick fox", greedy),
        lambda: ask.score(engine, PROMPT, ["fox"]),
        lambda: ask.reread(engine, PROMPT, "fox", 0),
        lambda: ask.embed(engine, ["the quick fox"]),
    ):
        with pytest.raises(RequestRefused, match="its embedding has 100 rows"):
            act()
