"""Attention over forests is attention with a mask, in C, in tiles and in torch, forward and backward."""

import random

import pytest
import torch
from torch import Tensor

from finetune.data.pack import Segment
from finetune.network import attention, kernels
from finetune.network.attention import Plan

CPU = torch.device("cpu")
SIZES = [(3, 3, 64, 320), (2, 1, 32, 128), (1, 8, 128, 192), (2, 2, 16, 64)]
"""Heads of keys, queries for each, width, tokens."""


def forest(tokens: int, seed: int) -> list[Segment]:
    """Segments of all lengths; about half of them follow a part of an earlier one."""
    drawn = random.Random(seed)
    made: list[Segment] = []
    at = 0
    while at < tokens:
        length = min(tokens - at, drawn.choice([1, 3, 20, 100, 300]))
        before: tuple[tuple[int, int], ...] = ()
        if made and drawn.random() < 0.5:
            other = drawn.choice(made)
            before = (*other.before, (other.begin, drawn.randint(other.begin + 1, other.end)))
        made.append(Segment(at, at + length, before))
        at += length
    return made


def masked(q: Tensor, k: Tensor, v: Tensor, segments: list[Segment]) -> Tensor:
    """The reference: a whole matrix of scores."""
    heads, tokens, dim = k.shape
    sees = torch.zeros(tokens, tokens, dtype=torch.bool)
    for one in segments:
        for begin, end in one.before:
            sees[one.begin : one.end, begin:end] = True
        length = one.end - one.begin
        sees[one.begin : one.end, one.begin : one.end] |= torch.ones(length, length, dtype=torch.bool).tril()
    scores = torch.einsum("htgd,hsd->htgs", q.view(heads, tokens, -1, dim), k)
    weights = scores.masked_fill(~sees[None, :, None, :], float("-inf")).softmax(-1)
    return torch.einsum("htgs,hsd->htgd", weights, v).transpose(0, 1).reshape(tokens, -1)


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return float((found.float() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("how", ["C in float32", "torch in float32", "C in bfloat16", "torch in bfloat16", "tiles"])
@pytest.mark.parametrize("size", SIZES)
def test_all_ways_are_masked_attention(how: str, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    heads, shared, dim, tokens = size
    if how == "tiles" and kernels.tiles("attention", torch.empty(dim, dtype=torch.bfloat16)) is None:
        pytest.skip("needs AMX and heads of a multiple of 32")
    if how != "tiles":
        monkeypatch.setattr(kernels, "tiles", lambda *_: None)
    if how.startswith("torch"):
        monkeypatch.setattr(kernels, "library", lambda: None)
    dtype = torch.float32 if "float32" in how else torch.bfloat16
    torch.manual_seed(0)
    for seed in range(3):
        segments = forest(tokens, seed)
        plan = Plan.of(segments, CPU)
        q = (torch.randn(heads, tokens * shared, dim) * 0.3).to(dtype)
        k, v = (torch.randn(heads, tokens, dim).to(dtype) for _ in range(2))
        gradient = torch.randn(tokens, heads * shared * dim).to(dtype)
        leaves = [one.float().clone().requires_grad_() for one in (q, k, v)]
        expected = masked(*leaves, segments)
        expected.backward(gradient.float())
        out, totals = attention.attend(q, k, v, plan)
        found = attention.backward(gradient, q, k, v, plan, totals)
        limit = 1e-5 if dtype == torch.float32 else 0.02
        assert apart(out, expected.detach()) < limit
        for one, leaf in zip(found, leaves, strict=True):
            assert leaf.grad is not None
            assert apart(one, leaf.grad) < limit


def test_chunks_hold_every_token_with_its_keys() -> None:
    segments = [
        Segment(0, 30, ()),
        Segment(30, 40, ((0, 25),)),
        Segment(40, 1000, ()),
        Segment(1000, 1024, ((40, 300),)),
    ]
    found = attention.chunks(segments, CPU, 256)
    assert [one.begin for one in found] == sorted({one.begin for one in found})
    assert all(one.end - one.begin <= 256 for one in found)
    assert all((one.end - one.begin) % attention.EVEN == 0 for one in found if one.end < 1024)
    owners = {token: one for one in reversed(found) for token in range(one.begin, one.end)}
    assert sorted(owners) == list(range(1024))
    keys = [token for begin, end in owners[1000].keys for token in range(begin, end)]
    assert set(range(40, 300)) <= set(keys)
