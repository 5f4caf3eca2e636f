"""Our own forward and backward pass is transformers' and PEFT's, for each model family it takes."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, Qwen2Config, SmolLM3Config

from assistant.engine.formats import weights
from finetune.config import TrainConfig
from finetune.data import pack
from finetune.data.tokens import Row
from finetune.network import kernels, llama, trainable
from finetune.network.batch import Batch, batch
from finetune.network.trainee import Trainee
from tests.assistant.engine import tiny

CPU = torch.device("cpu")
FAMILIES = {
    **{kind: tiny.CONFIGS[kind] for kind in ("llama", "qwen2", "qwen3", "mistral")},
    "llama with biases": lambda: LlamaConfig(**tiny.SIZES, attention_bias=True, mlp_bias=True),
    "llama 3": lambda: LlamaConfig(
        **tiny.SIZES,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 1e4,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "smollm3": lambda: SmolLM3Config(**tiny.SIZES, pad_token_id=0, no_rope_layers=[1, 0]),
    "qwen2 without a tied head": lambda: Qwen2Config(**tiny.SIZES, tie_word_embeddings=False),
}


def made(folder: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(tiny.CONFIGS, "this", FAMILIES[family])
    return tiny.save(folder, "this")


def rows() -> Batch:
    """Rows that begin alike, one of them long, in two blocks."""
    drawn = random.Random(0)
    shared = [drawn.randrange(3, 300) for _ in range(9)]
    items = []
    for length in (5, 30, 40, 90):
        ids = [*shared, *(drawn.randrange(3, 300) for _ in range(length))]
        items.append([Row(np.array(ids, np.int32), np.array([place % 3 > 0 for place in range(len(ids))]))])
    return batch(list(pack.pack(items, 100, "0")))


def gradients(folder: Path, config: TrainConfig, *, own: bool, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Of the loss of `rows`, with the log-probabilities under the name `logprobs`."""
    torch.manual_seed(0)
    model = trainable.prepare(weights.load(folder, dtype, CPU), config, 10, "tiny")
    with torch.no_grad():
        for name, one in trainable.trained(model).items():
            if "lora_B" in name:
                one.normal_(std=0.05)
    trainee = Trainee(model)
    if not own:
        trainee._own_forward = None
    assert (trainee._own_forward is not None) == own
    logprobs = trainee(rows())
    logprobs.sum().backward()
    found: dict[str, Any] = {name: one.grad for name, one in trainable.trained(model).items()}
    with trainee.base(), torch.no_grad():
        found["base"] = trainee(rows())
    return {**found, "logprobs": logprobs.detach()}


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_is_transformers_and_pefts(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path, family, monkeypatch)
    config = TrainConfig(rank=4, precision="float32")
    ours, theirs = (gradients(folder, config, own=own, dtype=torch.float32) for own in (True, False))
    for name, expected in theirs.items():
        assert (ours[name] - expected).abs().max() <= 2e-4 * expected.abs().max() + 1e-6, name


@pytest.mark.parametrize(
    "settings", [{"method": "rslora"}, {"targets": ("q_proj", "down_proj")}, {"checkpointing": True}]
)
def test_what_is_adapted_is_chosen(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path, "llama", monkeypatch)
    config = TrainConfig(rank=4, precision="float32", **settings)
    ours, theirs = (gradients(folder, config, own=own, dtype=torch.float32) for own in (True, False))
    for name, expected in theirs.items():
        assert (ours[name] - expected).abs().max() <= 2e-4 * expected.abs().max() + 1e-6, name


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_bfloat16_is_as_near_to_float32_as_transformers(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = made(tmp_path, family, monkeypatch), TrainConfig(rank=4)
    exact = gradients(folder, config, own=False, dtype=torch.float32)
    apart = []
    for own in (True, False):
        rounded = gradients(folder, config, own=own, dtype=torch.bfloat16)
        differences = torch.cat([(rounded[name].float() - one).flatten() for name, one in exact.items()])
        apart.append(float(differences.norm()))
    assert apart[0] < 2 * apart[1]


def test_without_a_compiler_torch_computes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, config = made(tmp_path, "llama", monkeypatch), TrainConfig(rank=4, precision="float32")
    compiled = gradients(folder, config, own=True, dtype=torch.float32)
    monkeypatch.setattr(kernels, "library", lambda: None)
    plain = gradients(folder, config, own=True, dtype=torch.float32)
    for name, one in plain.items():
        assert (compiled[name] - one).abs().max() <= 1e-4 * one.abs().max() + 1e-6, name


def test_the_weights_are_held_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trainable.prepare(
        weights.load(made(tmp_path, "llama", monkeypatch), torch.float32, CPU), TrainConfig(rank=4), 10, "tiny"
    )
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    own = llama.Llama(model.get_base_model())
    joined = own.layers[0].qkv.weight
    attention = own._decoder.layers[0].self_attn
    assert attention.k_proj.base_layer.weight.untyped_storage().data_ptr() == joined.untyped_storage().data_ptr()
    assert all(torch.equal(one, before[name]) for name, one in model.named_parameters())


def test_what_is_not_plain_goes_through_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path, "llama", monkeypatch)
    for settings in ({"method": "dora"}, {"dropout": 0.1}, {"method": "full"}, {"method": "prefix"}):
        config = TrainConfig(rank=4, precision="float32", **settings)  # type: ignore[arg-type]
        model = trainable.prepare(weights.load(folder, torch.float32, CPU), config, 10, "tiny")
        assert Trainee(model)._own_forward is None, settings
        assert not llama.computes(model.config, config)
