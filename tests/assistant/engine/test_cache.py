"""What of the last conversation need not be computed again."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, Lfm2Config

from assistant.engine.cache import PrefixCache, as_input
from tests.assistant.engine import tiny


def model_of(config: Any) -> Any:
    torch.manual_seed(3)
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval()


@torch.inference_mode()
def read(model: Any, cache: PrefixCache, prompt: Sequence[int]) -> tuple[int, torch.Tensor]:
    """(tokens kept, logits after the prompt)"""
    kept = cache.keep_prefix(prompt)
    assert cache.ids == list(prompt[:kept])
    out = model(as_input(prompt[kept:], torch.device("cpu")), past_key_values=cache.layers, use_cache=True)
    cache.ids += prompt[kept:]
    return kept, out.logits[0, -1]


PROMPT = list(range(3, 13))
CASES = [
    (PROMPT, [*PROMPT, 40, 41], 10),
    (PROMPT, PROMPT, 9),
    (PROMPT, PROMPT[:4], 3),
    (PROMPT, [*PROMPT[:6], 99, 98], 6),
    (PROMPT, [99, *PROMPT], 0),
]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral-window"])
@pytest.mark.parametrize(("before", "prompt", "kept"), CASES)
def test_longest_common_prefix(kind: str, before: list[int], prompt: list[int], kept: int) -> None:
    model = model_of(tiny.CONFIGS[kind]())
    cache = PrefixCache(model.config)
    read(model, cache, before)
    seen, logits = read(model, cache, prompt)
    assert seen == kept
    _, fresh = read(model, PrefixCache(model.config), prompt)
    assert torch.allclose(logits, fresh, atol=1e-5)


@pytest.mark.parametrize(("prompt", "kept"), [(range(3, 60), 40), (range(3, 30), 0), ([*range(3, 40), 9, 9], 0)])
def test_a_window_that_has_moved_on_is_only_continued(prompt: Sequence[int], kept: int) -> None:
    model = model_of(tiny.CONFIGS["mistral-window"]())  # a window of 24
    cache = PrefixCache(model.config)
    read(model, cache, list(range(3, 43)))
    seen, logits = read(model, cache, list(prompt))
    assert seen == kept
    _, fresh = read(model, PrefixCache(model.config), list(prompt))
    assert torch.allclose(logits, fresh, atol=1e-5)


@pytest.mark.parametrize(("prompt", "kept"), [([*PROMPT, 40], 10), (PROMPT[:4], 0)])
def test_a_state_that_cannot_be_turned_back_is_only_continued(prompt: list[int], kept: int) -> None:
    model = model_of(Lfm2Config(**tiny.SIZES, layer_types=["conv", "full_attention"]))
    cache = PrefixCache(model.config)
    read(model, cache, PROMPT)
    seen, logits = read(model, cache, prompt)
    assert seen == kept
    _, fresh = read(model, PrefixCache(model.config), prompt)
    assert torch.allclose(logits, fresh, atol=1e-5)


def test_after_a_failure_nothing_is_kept() -> None:
    model = model_of(tiny.CONFIGS["llama"]())
    cache = PrefixCache(model.config)
    read(model, cache, PROMPT)
    cache.clear()
    assert cache.keep_prefix([*PROMPT, 4]) == 0
    assert cache.layers.get_seq_length() == 0
