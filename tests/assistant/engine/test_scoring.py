"""Scores against a plain forward pass over prompt and continuation, and what embedding gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from assistant.engine import scoring
from assistant.engine.engine import Engine
from assistant.engine.sampling import Sampling
from assistant.engine.scoring import Tree
from assistant.errors import ContextExceeded
from assistant.events import Prefilled, Token
from prompts.message import Message
from tests.assistant.engine import tiny

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
    for scores, label in zip(engine.score(PROMPT, LABELS), LABELS, strict=True):
        ids = engine.chat_format.encode_following(label)
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(scores), expected, rtol=1e-4, atol=1e-4)


def test_scoring_leaves_the_conversation_as_it_was(folder: Callable[[str], Path]) -> None:
    engine = Engine.load(folder("llama"), dtype="float32")
    greedy = Sampling(temperature=0, max_tokens=10)
    before = list(engine.chat(PROMPT, greedy))
    engine.score(PROMPT, LABELS)
    after = list(engine.chat(PROMPT, greedy))
    assert [one.id for one in after if isinstance(one, Token)] == [one.id for one in before if isinstance(one, Token)]
    (begun,) = [event for event in after if isinstance(event, Prefilled)]
    assert begun.cached_tokens == begun.prompt_tokens - 1


def test_too_long_to_score(folder: Callable[[str], Path]) -> None:
    engine = Engine.load(folder("llama"), dtype="float32")
    with pytest.raises(ContextExceeded, match="256"):
        engine.score(PROMPT, ["x " * 300])
    assert engine.score(PROMPT, []) == []


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_embedding(folder: Callable[[str], Path], kind: str) -> None:
    engine = Engine.load(folder(kind), dtype="float32")
    one, other, again = engine.embed(["the quick fox", "完全不同", "the quick fox"])
    assert one == again != other
    assert len(one) == 32
    assert sum(x * x for x in one) == pytest.approx(1)
    with pytest.raises(ContextExceeded):
        engine.embed(["x " * 300])
