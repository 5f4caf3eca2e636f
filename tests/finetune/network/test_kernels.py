"""The C code between products gives what the torch code gives, in both precisions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from finetune.network import kernels

CASES: dict[str, Callable[[torch.dtype], Any]] = {
    "norm": lambda dtype: kernels.norm(made(7, 96, dtype), made(1, 96, dtype)[0], 1e-5),
    "norm_backward": lambda dtype: kernels.norm_backward(
        made(7, 96, dtype, 1), made(7, 96, dtype), made(1, 96, dtype)[0], torch.rand(7) + 0.5
    ),
    "gate": lambda dtype: kernels.gate(made(7, 96, dtype) * 30),
    "gate_backward": lambda dtype: kernels.gate_backward(made(7, 48, dtype, 1), made(7, 96, dtype) * 9),
    "rotate": lambda dtype: kernels.rotate(made(6, 160, dtype), made(6, 16), made(6, 16, seed=1), 0.3, 1, 3),
    "rotate_backward": lambda dtype: kernels.rotate_backward(
        made(18, 32, dtype)[None],
        made(6, 32)[None],
        made(6, 32, seed=1)[None],
        made(6, 16),
        made(6, 16, seed=2),
        0.3,
        3,
    ),
    "cross_entropy": lambda dtype: entropy(dtype, backward=True),
    "cross_entropy alone": lambda dtype: entropy(dtype, backward=False),
    "cross_entropy of distributions": lambda dtype: entropy(dtype, backward=True, targets=4),
}


def made(rows: int, width: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


def entropy(dtype: torch.dtype, *, backward: bool, targets: int = 1) -> tuple[Tensor, Tensor]:
    logits = made(5, 333, dtype) * 4
    chosen = torch.tensor([0, 3, 100, 332, 7])[:, None] // torch.arange(1, targets + 1)
    weights = torch.full((5, targets), 1 / targets)
    return kernels.cross_entropy(logits, chosen, weights, 1.5, backward=backward), logits


def parts(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


@pytest.mark.skipif(kernels.library() is None, reason="needs a C compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_c_is_torch(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    found = parts(CASES[name](dtype))
    monkeypatch.setattr(kernels, "library", lambda: None)
    torch.manual_seed(3)
    expected = parts(CASES[name](dtype))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        limit = 1e-5 if dtype == torch.float32 else 8e-3
        assert (one.float() - other.float()).abs().max() <= limit * other.float().abs().max()


def test_numbers_that_are_none_are_not_hidden() -> None:
    logits = made(2, 64)
    logits[1] = float("nan")
    logprobs = kernels.cross_entropy(logits, torch.tensor([[1], [1]]), torch.ones(2, 1), 1.0, backward=False)
    assert torch.isfinite(logprobs).tolist() == [True, False]


def test_half_precision_other_than_bfloat16_goes_through_torch() -> None:
    normal, _ = kernels.norm(made(2, 8, torch.float16), torch.ones(8, dtype=torch.float16), 1e-5)
    assert normal.dtype == torch.float16
