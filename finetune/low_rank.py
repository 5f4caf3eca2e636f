"""The product of a linear with a low-rank adapter as one step of autograd.

PEFT computes y = x W' + s (x A') B' in float32 beside a base of 16 bits: each linear then holds x twice, once in
float32, and makes several passes over y. Here x and x A' are kept, in the base's precision, and the products add up in
place: the same numbers in float32, and within its rounding in bfloat16. A and B stay float32 for the optimiser.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn.functional import linear


class _Product(torch.autograd.Function):
    """x (M, K), weight (N, K) without gradient, a (r, K), b (N, r) -> (M, N)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        a, b = a.to(x.dtype), b.to(x.dtype)
        low = x @ a.T
        ctx.save_for_backward(x, low, weight, a, b)
        ctx.scale = scale
        return linear(x, weight, bias).addmm_(low, b.T, alpha=scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, low, weight, a, b = ctx.saved_tensors
        to_low = (gradient @ b).mul_(ctx.scale)
        to_x = (gradient @ weight).addmm_(to_low, a) if ctx.needs_input_grad[0] else None
        to_a = (to_low.T @ x).float()
        to_b = (gradient.T @ low).mul_(ctx.scale).float()
        return to_x, None, None, to_a, to_b, None


def speed_up(model: nn.Module, name: str = "default") -> int:
    """Let the plain low-rank linears of a PEFT model use it; how many do. Others stay as PEFT computes them."""
    found = [one for one in model.modules() if isinstance(one, LoraLinear) and _is_plain(one, name)]
    for one in found:
        one.forward = _Forward(one, name)
    return len(found)


class _Forward:
    """In place of a linear's own `forward`."""

    def __init__(self, module: Any, name: str) -> None:
        self._module, self._name, self._otherwise = module, name, module.forward

    def __call__(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        one = self._module
        if one.disable_adapters or one.merged or one.active_adapters != [self._name] or arguments or options:
            result: Tensor = self._otherwise(x, *arguments, **options)
            return result
        base = one.get_base_layer()
        a, b = one.lora_A[self._name].weight, one.lora_B[self._name].weight
        rows: Tensor = _Product.apply(  # type: ignore[no-untyped-call]
            x.reshape(-1, x.shape[-1]), base.weight, base.bias, a, b, one.scaling[self._name]
        )
        return rows.view(*x.shape[:-1], -1)


def _is_plain(one: LoraLinear, name: str) -> bool:
    """Neither DoRA nor dropout nor a base of other than plain weights."""
    base = one.get_base_layer()
    return (
        type(base) is nn.Linear
        and not base.weight.requires_grad
        and not one.lora_variant
        and not one.lora_bias.get(name, False)
        and isinstance(one.lora_dropout[name], nn.Identity)
    )
