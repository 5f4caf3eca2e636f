"""Every kind of ggml's blocks, in each instruction set: the file's numbers, and products within 2^-16 of theirs."""

import gguf
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.engine.networks.llama import native
from assistant.engine.networks.llama.blocks import FLAT, KINDS, Blocks, Stack, flat, quantise
from assistant.engine.networks.llama.packed import BlockEmbedding, BlockLinear, Int4Linear
from tests.assistant.engine.llama.random_blocks import random_blocks

TOLERANCE = 4e-5
"""Of the sum of all products' sizes: an activation is within 2^-16 of the largest of its 32."""
pytestmark = pytest.mark.usefixtures("instruction_set")


def wanted_weights(blocks: Blocks) -> torch.Tensor:
    return torch.from_numpy(gguf.dequantize(blocks.rows.numpy(), gguf.GGMLQuantizationType[blocks.kind]))


def close(
    linear: native.NativeLinear, weights: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None = None
) -> bool:
    wanted = torch.nn.functional.linear(x.double(), weights.double(), None if bias is None else bias.double())
    return bool((linear(x) - wanted).abs().max() <= TOLERANCE * (x.abs() @ weights.abs().T).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [16, 40])
def test_numbers_and_products_of_a_kind(kind: str, n: int) -> None:
    blocks = random_blocks(kind, n, 512, seed=n)
    weights, bias = wanted_weights(blocks), torch.randn(n)
    assert torch.equal(blocks.dequantise(), weights)
    linear = native.NativeLinear(blocks, bias)
    assert torch.equal(linear.unpack(), weights)
    assert torch.equal(linear.unpack(torch.bfloat16), weights.bfloat16())
    for rows in (1, 2, 3, 4, 8, 21, 70):
        x = torch.randn(rows, 512) * 10 ** torch.arange(-4.0, 4.0).repeat_interleave(64)
        assert close(linear, weights, x, bias)
    ids = torch.randint(0, n, (5,))
    assert torch.equal(native.NativeEmbedding(linear)(ids), weights[ids])
    assert torch.equal(BlockEmbedding(blocks)(ids), weights[ids])


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_and_memory_are_of_one_size(kind: str) -> None:
    blocks = random_blocks(kind, 64, 1024)
    packed = native.NativeLinear(blocks).packed[0]
    assert blocks.rows.numel() <= packed.numel() <= 1.05 * blocks.rows.numel()


@given(st.sampled_from(sorted(KINDS)), st.integers(1, 70), st.integers(1, 4), st.integers(1, 20), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_shape(kind: str, n: int, blocks_wide: int, rows: int, seed: int) -> None:
    blocks = random_blocks(kind, n, blocks_wide * KINDS[kind][0], seed)
    linear, weights = native.NativeLinear(blocks), wanted_weights(blocks)
    assert torch.equal(linear.unpack(), weights)
    assert close(linear, weights, torch.randn(rows, weights.shape[1], generator=torch.Generator().manual_seed(seed)))


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 3)), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_stack_is_its_parts_below_one_another(parts: list[tuple[str, int]]) -> None:
    stack = Stack(tuple(random_blocks(kind, 16 * tiles, 256, seed) for seed, (kind, tiles) in enumerate(parts)))
    linear, weights = native.NativeLinear(stack), torch.cat([wanted_weights(part) for part in stack.parts])
    assert torch.equal(linear.unpack(), weights) and torch.equal(stack.dequantise(), weights)
    assert stack.shape == tuple(weights.shape)
    assert close(linear, weights, torch.randn(5, 256))
    ids = torch.arange(len(weights))
    assert torch.equal(native.NativeEmbedding(linear)(ids), weights)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_are_the_same_bit_for_bit_beside_others(kind: str, threads: int) -> None:
    linear, x = native.NativeLinear(random_blocks(kind, 80, 512)), torch.randn(15, 512)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = linear(x)
        for i, row in enumerate(x):
            assert torch.equal(linear(row[None])[0], together[i])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - FLAT.keys()))
def test_torch_takes_the_other_kinds_rounded_to_8_bits(kind: str) -> None:
    """Where there is no library: no compiler, or another CPU."""
    blocks, x = random_blocks(kind, 64, 256), torch.randn(3, 256)
    assert torch.equal(flat(blocks).rows, quantise(blocks.dequantise(), 8).rows)
    wanted = x @ blocks.dequantise().T
    scale = (x.abs() @ blocks.dequantise().abs().T).max()
    for linear in (Int4Linear(blocks), BlockLinear(blocks)):
        assert (linear(x) - wanted).abs().max() <= 0.01 * scale
