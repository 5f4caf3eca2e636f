"""The C products and the C step give what float32 torch gives with the same weights."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from assistant.engine.hardware import compiler
from assistant.engine.networks.llama import native, packed
from assistant.engine.networks.llama.blocks import Blocks, quantise
from assistant.engine.networks.llama.model import build
from assistant.engine.networks.llama.packed import BlockEmbedding, BlockLinear, Int4Linear
from assistant.errors import RequestRefused
from tests.assistant.engine.llama.test_model import CASES, reference

pytestmark = pytest.mark.usefixtures("instruction_set")

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head", "embed_tokens")
STEPPED = [name for name in CASES if name not in ("llama-head-dim", "llama-dynamic")]  # what it leaves to torch


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


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
    for rows in (1, 3, 20, 70):
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


@pytest.mark.parametrize("kind", MAKERS)
def test_a_block_linear_is_the_product_with_the_dequantised_weights(kind, monkeypatch):
    monkeypatch.setattr(packed, "UNPACKED_WEIGHTS", 96 * 24)  # in three parts
    blocks, bias = MAKERS[kind](torch.randn(64, 96)), torch.randn(64)
    x = torch.randn(3, 96)
    torch.testing.assert_close(BlockLinear(blocks, bias)(x), x @ blocks.dequantise().T + bias)


@pytest.mark.parametrize("name", ["llama3", "qwen3", "smollm3"])
def test_a_model_of_block_linears_is_that_of_the_dequantised_weights(name: str) -> None:
    """What a GPU computes with, in its bfloat16."""
    theirs = reference(name)
    weights = quantised(theirs.state_dict())
    if theirs.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)

    def of(dtype: torch.dtype) -> dict[str, Any]:
        return {name: one.to(dtype) if isinstance(one, torch.Tensor) else one for name, one in weights.items()}

    ids = torch.randint(0, 199, (40,))
    with torch.inference_mode():
        plain, blocks = build(theirs.config, of(torch.float32)), build(theirs.config, of(torch.float32), BlockLinear)
        wanted = plain(ids, plain.empty_kv(64), 0, last=40)
        torch.testing.assert_close(blocks(ids, blocks.empty_kv(64), 0, last=40), wanted, rtol=1e-4, atol=1e-4)
        narrow = build(theirs.config, of(torch.bfloat16), BlockLinear)
        got = narrow(ids, narrow.empty_kv(64), 0, last=40)
    assert got.dtype == torch.bfloat16
    assert (got.float() - wanted).abs().max() <= 5e-2 * wanted.abs().max()


def quantised(state):
    """The matrices as blocks, 4 bits but for the embedding."""
    return {
        name: quantise(value, 8 if "embed" in name or "lm_head" in name else 4)
        if value.ndim == 2 and any(one in name for one in LINEARS)
        else value
        for name, value in state.items()
    }


ROWS_AT_ONCE = {"one by one": [1] * 60, "mixed": [16, 1, 2, 7, 16, 3, 4, 11], "from the first": [5, 16, 16, 16, 7]}


@pytest.mark.parametrize("sizes", ROWS_AT_ONCE.values(), ids=ROWS_AT_ONCE)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", STEPPED)
def test_step_is_the_forward_of_the_same_weights(name: str, threads: int, sizes: list[int]) -> None:
    theirs = reference(name)
    weights = quantised(theirs.state_dict())
    if theirs.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    plain, fast = build(theirs.config, weights), build(theirs.config, weights, native.NativeLinear)
    ids = torch.randint(0, 199, (60,))
    with threads_of(threads), torch.inference_mode():
        wanted = plain(ids, plain.empty_kv(64), 0, last=60)
        kv, step, got = fast.empty_kv(64, torch.float16), native.Stepper(fast), []
        for size in sizes:
            at = sum(map(len, got))
            got.append(step([native.Row(int(ids[i]), kv, i) for i in range(at, at + size)]))
    assert (torch.cat(got) - wanted).abs().max() <= 2e-2 * wanted.abs().max()


@pytest.mark.parametrize("held", [0, 7, 33, 64])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["llama3", "qwen3"])
@torch.inference_mode()
def test_a_tree_is_its_branches_one_by_one(name: str, threads: int, held: int) -> None:
    theirs = reference(name)
    model = build(theirs.config, quantised(theirs.state_dict()), native.NativeLinear)
    step = native.Stepper(model)
    before, ids = torch.randint(0, 199, (held,)).tolist(), torch.randint(0, 199, (50,)).tolist()
    parents = [-1, 0, 1, 0, -1, 3, *range(5, 40), 2, -1, 2, 43, 4, 4, 39, 40, 48]
    kv = model.empty_kv(128, torch.float16)
    start = [native.Row(token, kv, at, False) for at, token in enumerate(before)]
    with threads_of(threads):
        if start:
            step(start)
        alone = kv.clone()
        got = step([native.Row(1, alone, held), *native.tree_rows(ids, parents, kv, held, len(ids))])[1:]
        for node in range(len(ids)):
            branch, at = [ids[node]], parents[node]
            while at >= 0:
                branch, at = [ids[at], *branch], parents[at]
            wanted = step([native.Row(token, alone, held + i) for i, token in enumerate(branch)])[-1]
            torch.testing.assert_close(got[node], wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["llama3", "qwen3", "mistral-window", "smollm3"])
@torch.inference_mode()
def test_a_row_is_the_same_bit_for_bit_whatever_is_beside_it(name: str) -> None:
    theirs = reference(name)
    model = build(theirs.config, quantised(theirs.state_dict()), native.NativeLinear)
    step = native.Stepper(model)
    ids = torch.randint(0, 199, (4, 40)).tolist()
    alone = [model.empty_kv(64, torch.float16) for _ in ids]
    wanted = [
        [step([native.Row(token, kv, at)])[0] for at, token in enumerate(one)]
        for one, kv in zip(ids, alone, strict=True)
    ]
    kvs, at = [model.empty_kv(64, torch.float16) for _ in ids], [0, 0, 0, 0]
    for sizes in ([1, 5, 2, 8], [3, 1, 1, 1], [8, 2, 2, 2], [1, 8, 3, 4], [4, 4, 4, 4], [2, 2, 2, 2]):
        rows = [native.Row(ids[i][at[i] + j], kvs[i], at[i] + j) for i, size in enumerate(sizes) for j in range(size)]
        got = step(rows).split(sizes)
        for i, size in enumerate(sizes):
            assert torch.equal(got[i], torch.stack(wanted[i][at[i] : at[i] + size]))
            at[i] += size


def test_without_a_compiler_there_is_no_library(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSISTANT_HOME", str(tmp_path))
    monkeypatch.setattr(compiler.shutil, "which", lambda _: None)
    monkeypatch.delenv("CC", raising=False)
    native.library.cache_clear()
    assert native.library() is None
    native.library.cache_clear()


@pytest.mark.parametrize("wrong", [-1, 40, 2**40])
def test_an_id_without_a_row_is_refused(wrong: int) -> None:
    """A tokenizer may have more tokens than the embedding has rows."""
    embedding = native.NativeEmbedding(native.NativeLinear(q4_0(torch.randn(40, 64))))
    assert embedding(torch.tensor([0, 39])).shape == (2, 64)
    with pytest.raises(RequestRefused, match=f"no token {wrong}"):
        embedding(torch.tensor([3, wrong]))


def test_a_forked_process_starts_threads_of_its_own() -> None:
    """Those of the parent aren't there: waiting for them would never end."""
    linear, x = native.NativeLinear(q4_0(torch.randn(64, 64))), torch.randn(1, 64)
    expected = linear(x)
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(0 if torch.equal(linear(x), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
