"""The C products and the C step give what float32 torch gives with the same weights."""

import pytest
import torch

from assistant.engine.llama import native
from assistant.engine.llama.blocks import Blocks, quantise, stack
from assistant.engine.llama.model import build
from assistant.engine.llama.packed import BlockEmbedding, Int4Linear, Int8Linear
from tests.assistant.engine.llama.test_model import CASES, reference

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head", "embed_tokens")
STEPPED = [name for name in CASES if name not in ("llama-head-dim", "llama-dynamic")]  # head_dim 24: see LOG.md


def q4_0(weights):
    """Blocks without minima."""
    groups = weights.unflatten(1, (-1, 32))
    d = (groups.abs().amax(-1, keepdim=True) / 8).half()
    q = (groups / d.float()).round().clamp(-8, 7).add(8).to(torch.uint8)
    return Blocks("Q4_0", torch.cat((d.view(torch.uint8), q[..., :16] | q[..., 16:] << 4), dim=-1).flatten(1))


MAKERS = {"Q4_0": q4_0, "Q4_1": lambda w: quantise(w, 4), "Q8_0": lambda w: quantise(w, 8)}


@pytest.mark.parametrize("kind", MAKERS)
def test_blocks_are_those_of_ggml(kind):
    import gguf

    blocks = MAKERS[kind](torch.randn(48, 96))
    wanted = gguf.dequantize(blocks.rows.numpy(), gguf.GGMLQuantizationType[kind])
    assert torch.equal(blocks.dequantise(), torch.from_numpy(wanted))


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("n", [16, 40, 128])
def test_native_linear(kind, n):
    torch.manual_seed(n)
    blocks, bias = MAKERS[kind](torch.randn(n, 96)), torch.randn(n)
    linear = native.NativeLinear(blocks, bias)
    assert torch.equal(linear.unpack(), blocks.dequantise())
    for rows in (1, 3, 20):
        x = torch.randn(rows, 96) * 10 ** torch.arange(-3.0, 3.0).repeat_interleave(16)
        wanted = torch.nn.functional.linear(x.double(), blocks.dequantise().double(), bias.double()).float()
        scale = (x.abs() @ blocks.dequantise().abs().T).max()
        assert (linear(x) - wanted).abs().max() <= 4e-5 * scale  # 2^-16 of the largest of each 32
    ids = torch.randint(0, n, (5,))
    assert torch.equal(native.NativeEmbedding(linear)(ids), blocks.dequantise()[ids])
    assert torch.equal(BlockEmbedding(blocks)(ids), blocks.dequantise()[ids])


@pytest.mark.parametrize("kind", MAKERS)
def test_torch_int4_linear_is_within_bfloat16(kind):
    blocks = MAKERS[kind](torch.randn(64, 96))
    x = torch.randn(3, 96)
    scale = (x.abs() @ blocks.dequantise().abs().T).max()
    assert (Int4Linear(blocks)(x) - x @ blocks.dequantise().T).abs().max() <= 0.01 * scale


def test_torch_int8_linear():
    weights, x = torch.randn(64, 96), torch.randn(3, 96)
    assert (Int8Linear(weights)(x) - x @ weights.T).abs().max() <= 0.02 * (x.abs() @ weights.abs().T).max()


def quantised(state):
    """The matrices as blocks, 4 bits but for the embedding."""
    return {
        name: quantise(value, 8 if "embed" in name or "lm_head" in name else 4)
        if value.ndim == 2 and any(one in name for one in LINEARS) else value
        for name, value in state.items()
    }


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", STEPPED)
def test_step_is_the_forward_of_the_same_weights(name, threads, half):
    theirs = reference(name)
    weights = quantised(theirs.state_dict())
    if theirs.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    plain, fast = build(theirs.config, weights), build(theirs.config, weights, native.NativeLinear)
    ids = torch.randint(0, 199, (60,))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            wanted = plain(ids, plain.empty_kv(64), 0, last=60)
            kv = fast.empty_kv(64, torch.float16 if half else torch.float32)
            step = native.Stepper(fast, half)
            got = torch.stack([step(int(id_), kv, at).clone() for at, id_ in enumerate(ids)])
    finally:
        torch.set_num_threads(before)
    tolerance = 2e-2 if half else 1e-3
    assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()


def test_without_a_compiler_there_is_no_library(monkeypatch, tmp_path):
    monkeypatch.setenv("SPIKE_CACHE", str(tmp_path))
    monkeypatch.setattr(native.shutil, "which", lambda _: None)
    native.library.cache_clear()
    assert native.library() is None
    native.library.cache_clear()


def test_stack():
    one, two = quantise(torch.randn(16, 64), 4), quantise(torch.randn(32, 64), 4)
    assert torch.equal(stack([one, two]).dequantise(), torch.cat((one.dequantise(), two.dequantise())))
