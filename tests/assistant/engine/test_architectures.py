"""Whatever transformers can load answers through the engine as `transformers.generate` does, also in later turns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from assistant.engine.engine import Engine
from assistant.engine.generate import cache
from assistant.engine.generate.sampling import Sampling
from assistant.engine.networks import static_kv
from assistant.engine.networks.llama import shape as llama
from assistant.engine.networks.static_kv import StaticKV
from assistant.errors import ModelUnsupported
from assistant.events import Finished, Token
from tests.assistant.engine import ask, tiny

TOKENS = 24
BLOOM = {"vocab_size": 320, "hidden_size": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Bloom": BLOOM,
    "Cohere": tiny.SIZES,
    "Falcon": {**BLOOM, "num_hidden_layers": 2, "num_attention_heads": 4, "new_decoder_architecture": False},
    "Gemma": {**tiny.SIZES, "head_dim": 8},
    "Gemma2": {**tiny.SIZES, "head_dim": 8, "sliding_window": 16},
    "Gemma3Text": {**tiny.SIZES, "head_dim": 8, "sliding_window": 16},
    "GPT2": {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "GPTNeoX": tiny.SIZES,
    "Granite": tiny.SIZES,
    "Mixtral": {**tiny.SIZES, "num_local_experts": 4, "num_experts_per_tok": 2},
    "OPT": {**tiny.SIZES, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "Olmo2": tiny.SIZES,
    "Phi": tiny.SIZES,
    "Phi3": {**tiny.SIZES, "pad_token_id": 0},
    "Qwen2Moe": {**tiny.SIZES, **MOE, "shared_expert_intermediate_size": 32},
    "Qwen3Moe": {**tiny.SIZES, **MOE, "head_dim": 8},
    "StableLm": tiny.SIZES,
}

NOT_STATIC = ("Gemma2", "Gemma3Text")
OWN_FORWARD = ("Gemma3Text", "Granite")
"""Not computed by transformers."""


def saved(name: str, options: dict[str, Any], folder: Path) -> Any:
    """The model, which is in `folder` too."""
    torch.manual_seed(1)
    config = getattr(transformers, f"{name}Config")(**options)
    model = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval()
    for weights in model.parameters():
        if weights.ndim > 1:  # the usual beginning is so near zero that every prompt gets the same reply
            weights.data.mul_(4)
    model.generation_config.eos_token_id = 2
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return model


def generated(model: Any, ids: Sequence[int]) -> list[int]:
    with torch.inference_mode():
        found = model.generate(torch.tensor([list(ids)]), do_sample=False, max_new_tokens=TOKENS, pad_token_id=0)
    new: list[int] = found[0, len(ids) :].tolist()
    return new[: new.index(2)] if 2 in new else new


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_same_greedy_tokens(name: str, tmp_path: Path) -> None:
    model = saved(name, ARCHITECTURES[name], tmp_path)
    check_greedy(model, Engine.load(tmp_path, device="cpu", dtype="float32"))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_same_greedy_tokens_with_a_static_cache(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What decodes on a GPU, with the graph's forward pass called instead of captured."""
    model = saved(name, ARCHITECTURES[name], tmp_path)
    assert static_kv.possible(model) == (name not in NOT_STATIC)
    assert (not llama.unsupported(model.config)) == (name in OWN_FORWARD)
    if name in (*NOT_STATIC, *OWN_FORWARD):
        return
    steps = StaticKV.step
    taken: list[int] = []
    monkeypatch.setattr(cache, "LEAST_ROOM_TOKENS", 16)  # so that it grows
    monkeypatch.setattr(StaticKV, "step", lambda kv, *rest: (taken.append(1), steps(kv, *rest))[1])
    engine = Engine.load(tmp_path, device="cpu", dtype="float32")
    engine._model.network._static = True  # type: ignore[attr-defined]
    check_greedy(model, engine)
    assert len(taken) > TOKENS


def check_greedy(model: Any, engine: Engine) -> None:
    texts = ["the quick fox", "the quick fox jumps over the lazy dog 你好", "the quick brown"]
    for text in texts:  # the second goes on from the first, the third from their beginning
        events = list(ask.complete(engine, text, Sampling(temperature=0, max_tokens=TOKENS)))
        assert isinstance(events[-1], Finished)
        said = [event.id for event in events if isinstance(event, Token) and event.id not in (None, 2)]
        assert said == generated(model, engine.chat_format.encode_text(text))


def test_a_model_without_a_kv_cache_is_refused(tmp_path: Path) -> None:
    sizes = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    saved("Mamba", sizes, tmp_path)
    with pytest.raises(ModelUnsupported, match="'mamba', which has no KV cache"):
        Engine.load(tmp_path, device="cpu")
