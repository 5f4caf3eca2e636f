"""transformers' own caches: what is kept of them gives the logits of a fresh one."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, Lfm2Config

from assistant.engine.generate.cache import Conversations
from assistant.engine.networks.network import Ask
from assistant.engine.networks.through_transformers import TransformersNetwork
from tests.assistant.engine import tiny


def network_of(config: Any) -> TransformersNetwork:
    torch.manual_seed(3)
    return TransformersNetwork(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval())


def read(network: TransformersNetwork, held: Conversations, prompt: Sequence[int]) -> tuple[int, torch.Tensor]:
    """(tokens kept, logits after the prompt)"""
    conversation, kept = held.take(prompt)
    (logits,) = network.logits([Ask(conversation, prompt[kept:])])
    held.give_back(conversation)
    return kept, logits[-1]


def check(config: Any, before: Sequence[int], prompt: Sequence[int], kept: int) -> None:
    network = network_of(config)
    held = Conversations(network.cache, 1 << 30)
    read(network, held, before)
    seen, logits = read(network, held, prompt)
    assert seen == kept
    _, fresh = read(network, Conversations(network.cache, 0), prompt)
    torch.testing.assert_close(logits, fresh, rtol=1e-4, atol=1e-5)


PROMPT = list(range(3, 33))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral-window"])
@pytest.mark.parametrize(
    ("before", "prompt", "kept"),
    [
        (PROMPT[:20], [*PROMPT[:20], 40, 41], 20),
        (PROMPT[:20], PROMPT[:20], 19),
        (PROMPT[:20], [*PROMPT[:16], 99, 98], 16),
        (PROMPT[:20], [99, *PROMPT[:20]], 0),
        (PROMPT[:4], PROMPT[:3], 2),
    ],
)
def test_longest_common_prefix(kind: str, before: list[int], prompt: list[int], kept: int) -> None:
    check(tiny.CONFIGS[kind](), before, prompt, kept)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_branch_is_copied(kind: str) -> None:
    check(tiny.CONFIGS[kind](), list(range(3, 103)), [*range(3, 23), 9, 9], 20)


@pytest.mark.parametrize(("prompt", "kept"), [(range(3, 60), 40), (range(3, 30), 0), ([*range(3, 40), 9, 9], 0)])
def test_a_window_that_has_moved_on_is_only_continued(prompt: Sequence[int], kept: int) -> None:
    check(tiny.CONFIGS["mistral-window"](), list(range(3, 43)), list(prompt), kept)  # a window of 24


@pytest.mark.parametrize(("prompt", "kept"), [([*PROMPT, 40], 30), (PROMPT[:4], 0)])
def test_a_state_that_cannot_be_turned_back_is_only_continued(prompt: list[int], kept: int) -> None:
    check(Lfm2Config(**tiny.SIZES, layer_types=["conv", "full_attention"]), PROMPT, prompt, kept)


def test_a_token_s_memory() -> None:
    network = network_of(tiny.CONFIGS["llama"]())
    conversation, _ = Conversations(network.cache, 0).take(PROMPT)
    assert conversation.kv.token_bytes == 0
    network.logits([Ask(conversation, PROMPT)])
    assert conversation.kv.token_bytes == 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, width, bytes
