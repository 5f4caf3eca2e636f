"""Parts of Llama-like models as one step of autograd each: what the backward pass needs is kept once, and no more.

transformers' norm keeps its input in float32, its gated product three tensors as wide as the inner layer; and each part
is a dozen passes over memory. A module is only replaced where it gives what transformers' gives.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers.activations import SiLUActivation


class _Norm(torch.autograd.Function):
    """x / rms(x) * weight, the weight frozen (https://arxiv.org/abs/1910.07467)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        inverse = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).to(x.dtype) * weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        to_normal = (gradients[0] * weight).float()
        normal = x.float() * inverse
        along = (to_normal * normal).mean(-1, keepdim=True)
        return to_normal.sub_(normal.mul_(along)).mul_(inverse).to(x.dtype), None, None


class _Gated(torch.autograd.Function):
    """silu(gate) * up (https://arxiv.org/abs/2002.05202)."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        (gradient,) = gradients
        return torch.ops.aten.silu_backward(gradient * up, gate), silu(gate).mul_(gradient)


def speed_up(model: nn.Module) -> int:
    """Replace what can be in a model whose norms are frozen; how many modules were."""
    replaced = 0
    for module in model.modules():
        made: Callable[[Tensor], Tensor] | None = None
        width = 0
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            made, width = _norm(module), _width(module)
        elif isinstance(getattr(module, "act_fn", None), nn.SiLU | SiLUActivation):
            made, width = _gated(module), getattr(getattr(module, "gate_proj", None), "in_features", 0)
        if made is not None and width and _is_same(module, made, width):
            module.forward = made
            replaced += 1
    return replaced


def _width(norm: Any) -> int:
    return int(norm.weight.shape[0])


def _norm(module: Any) -> Callable[[Tensor], Tensor] | None:
    if module.weight.requires_grad:
        return None
    return lambda x: _Norm.apply(x, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]


def _gated(module: Any) -> Callable[[Tensor], Tensor] | None:
    if not all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj")):
        return None

    def forward(x: Tensor) -> Tensor:
        inner = _Gated.apply(module.gate_proj(x), module.up_proj(x))  # type: ignore[no-untyped-call]
        found: Tensor = module.down_proj(inner)
        return found

    return forward


@torch.no_grad()
def _is_same(module: nn.Module, made: Callable[[Tensor], Tensor], width: int) -> bool:
    parameter = next(module.parameters())
    x = torch.linspace(-3, 3, 2 * width, device=parameter.device).reshape(1, 2, width).to(parameter.dtype)
    expected, found = module(x), made(x)
    return bool(torch.allclose(found.float(), expected.float(), rtol=2e-2, atol=1e-3 * float(expected.abs().max())))
