"""The Llama family's forward and backward pass for training: packed blocks, a frozen base, low-rank adapters.

Transformers' layers with PEFT take about two hundred autograd operations a layer; here they are four:

    x -> norm -> q, k, v -> attention -> o + x -> norm -> gate, up -> silu(gate) * up -> down + x

Linear layers with the same input are one product. The backward pass uses the stored inputs, products, and x A' of each
adapter; norms and gates are recomputed. Weights stay in the precision of the base; A and B are float32, rounded for
each product.

In a step of the default model on 2 cores with AMX (1,024 tokens, one conversation), products take about half of the
time, attention a third, the head a tenth. docs/training.md compares it with other programs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from assistant.engine.networks.llama import shape as engine
from finetune.config import TrainConfig
from finetune.network import attention, kernels
from finetune.network.attention import Plan
from finetune.network.batch import Batch

ADAPTER = "default"
LONGEST_ROW = 4096
"""Longest row in tokens: a sliding window of at least this width has no effect."""


class Projection:
    """Linear layers with the same input x (T, K) as one product, with their low-rank adapters, R ranks in all."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        bases = [cast(nn.Linear, one.get_base_layer() if isinstance(one, LoraLinear) else one) for one in modules]
        self.weight = torch.cat([one.weight.data for one in bases])
        """(N, K)."""
        biases = [one.weight.new_zeros(len(one.weight)) if one.bias is None else one.bias.data for one in bases]
        self.bias = torch.cat(biases) if any(one.bias is not None for one in bases) else None
        self.adapted = [one for one in modules if isinstance(one, LoraLinear)]
        self._parts: list[tuple[slice, slice]] = []
        """For each adapter its rows of N and its columns of R."""
        row = rank = 0
        for module, base in zip(modules, bases, strict=True):
            rows = slice(row, row + base.out_features)
            base.weight.data = self.weight[rows]  # a view, so that the weights are stored once
            row = rows.stop
            if isinstance(module, LoraLinear):
                self._parts.append((rows, slice(rank, rank + module.r[ADAPTER])))
                rank += module.r[ADAPTER]
        self.a, self.b = self.weight.new_empty(rank, self.weight.shape[1]), self.weight.new_zeros(row, rank)
        """A (R, K) of all adapters; s B (N, R), each in its own rows and columns."""
        self._versions: list[int] = []

    @property
    def parameters(self) -> list[Tensor]:
        """A and B of each adapter."""
        return [one[ADAPTER].weight for module in self.adapted for one in (module.lora_A, module.lora_B)]

    @property
    def is_on(self) -> bool:
        """Whether the adapters are enabled."""
        return bool(self.adapted) and not self.adapted[0].disable_adapters

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(projection (T, N) of x plus the residual, x A' (T, R) for the backward pass)."""
        added = residual if self.bias is None else self.bias if residual is None else residual + self.bias
        y = x @ self.weight.T if added is None else torch.addmm(added, x, self.weight.T)
        if not self.is_on:
            return y, None
        self._refresh()
        low = x @ self.a.T
        return y.addmm_(low, self.b.T), low

    def to_input(self, gradient: Tensor, low: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(gradient of the input (T, K) from that of the projection (T, N), gradient of x A' (T, R))."""
        to_x = gradient @ self.weight
        if low is None:
            return to_x, None
        to_low = gradient @ self.b
        return to_x.addmm_(to_low, self.a), to_low

    def to_parameters(
        self, gradient: Tensor, x: Tensor, low: Tensor | None, to_low: Tensor | None
    ) -> list[Tensor | None]:
        """Gradients of `parameters`."""
        if low is None or to_low is None:
            return [None] * len(self.parameters)
        to_a, to_b = (to_low.T @ x).float(), (gradient.T @ low).float()
        found: list[Tensor | None] = []
        for one, (rows, ranks) in zip(self.adapted, self._parts, strict=True):
            found += [to_a[ranks], to_b[rows, ranks] * one.scaling[ADAPTER]]
        return found

    @torch.no_grad()
    def _refresh(self) -> None:
        """Copy the adapters' weights if they have changed."""
        versions = [one._version for one in self.parameters]
        if versions == self._versions:
            return
        self._versions = versions
        for one, (rows, ranks) in zip(self.adapted, self._parts, strict=True):
            self.a[ranks] = one.lora_A[ADAPTER].weight
            self.b[rows, ranks] = one.lora_B[ADAPTER].weight * one.scaling[ADAPTER]


class _Normed(torch.autograd.Function):
    """A projection of RMSNorm(x), x (T, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float, projection: Projection, *_: Tensor) -> Tensor:
        normal, inverse = kernels.norm(x, weight, epsilon)
        y, low = projection.forward(normal)
        ctx.save_for_backward(x, weight, inverse, low)
        ctx.projection = projection
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse, low = ctx.saved_tensors
        to_normal, to_low = ctx.projection.to_input(gradients[0], low)
        to_x, normal = kernels.norm_backward(to_normal, x, weight, inverse)
        return to_x, None, None, None, *ctx.projection.to_parameters(gradients[0], normal, low, to_low)


class _Attended(torch.autograd.Function):
    """Residual plus the projection of the attention over qkv."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, residual: Tensor, seen: "Seen", projection: Projection, *_: Tensor) -> Tensor:
        q, k, v = kernels.rotate(qkv, seen.cos, seen.sin, seen.scale, seen.heads, seen.shared)
        out, totals = attention.attend(q, k, v, seen.plan)
        y, low = projection.forward(out, residual)
        ctx.save_for_backward(q, k, v, out, low, *totals)
        ctx.seen, ctx.projection = seen, projection
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, low, *totals = ctx.saved_tensors
        seen = ctx.seen
        to_out, to_low = ctx.projection.to_input(gradients[0], low)
        found = ctx.projection.to_parameters(gradients[0], out, low, to_low)
        made = attention.backward(to_out, q, k, v, seen.plan, totals)
        to_qkv = kernels.rotate_backward(*made, seen.cos, seen.sin, seen.scale, seen.shared)
        return to_qkv, gradients[0], None, None, *found


class _HeadsNormed(torch.autograd.Function):
    """RMSNorm of each head's queries and keys in qkv (T, (H * G + 2 * H) * D), https://arxiv.org/abs/2302.05442."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, weights: tuple[Tensor, Tensor], epsilon: float, heads: int) -> Tensor:
        parts = _heads(qkv, weights[0].shape[0], heads)
        made = [kernels.norm(part, weight, epsilon) for part, weight in zip(parts[:2], weights, strict=True)]
        ctx.save_for_backward(*parts[:2], *weights, *(inverse for _, inverse in made))
        ctx.heads = heads
        return torch.cat([*(normal.view(len(qkv), -1) for normal, _ in made), parts[2].view(len(qkv), -1)], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, q_weight, k_weight, q_inverse, k_inverse = ctx.saved_tensors
        rows = len(gradients[0])
        to_q, to_k, to_v = _heads(gradients[0], q.shape[1], ctx.heads)
        made = [
            kernels.norm_backward(to_q, q, q_weight, q_inverse)[0],
            kernels.norm_backward(to_k, k, k_weight, k_inverse)[0],
        ]
        return torch.cat([one.view(rows, -1) for one in (*made, to_v)], dim=1), None, None, None


def _heads(qkv: Tensor, dim: int, heads: int) -> list[Tensor]:
    """[queries, keys, values], each (rows, dim)."""
    keys = heads * dim
    return [part.reshape(-1, dim) for part in torch.split(qkv, [qkv.shape[1] - 2 * keys, keys, keys], dim=1)]


class _Gated(torch.autograd.Function):
    """Residual plus the projection of silu(gate) * up, for x (T, 2F)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, projection: Projection, *_: Tensor) -> Tensor:
        y, low = projection.forward(kernels.gate(x), residual)
        ctx.save_for_backward(x, low)
        ctx.projection = projection
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, low = ctx.saved_tensors
        to_inner, to_low = ctx.projection.to_input(gradients[0], low)
        to_x, inner = kernels.gate_backward(to_inner, x)
        return to_x, gradients[0], None, *ctx.projection.to_parameters(gradients[0], inner, low, to_low)


@dataclass(frozen=True, slots=True)
class Seen:
    """Attention plan of a batch, and its rotary embedding: cos and sin (T, D / 2), float32."""

    plan: Plan
    cos: Tensor
    sin: Tensor
    heads: int
    """Key heads; each serves `shared` query heads."""
    shared: int

    @property
    def scale(self) -> float:
        """Factor for the queries, 1 / sqrt(D)."""
        return float((2 * self.cos.shape[1]) ** -0.5)


class Layer:
    """A decoder layer of transformers' model with fused projections."""

    def __init__(self, layer: Any, shape: engine.Shape) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = Projection([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = Projection([attention.o_proj])
        self.gate_up = Projection([mlp.gate_proj, mlp.up_proj])
        self.down = Projection([mlp.down_proj])
        self.norms = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        self.head_norms = (attention.q_norm.weight, attention.k_norm.weight) if shape.qk_norm else None
        self.epsilon = shape.eps

    def __call__(self, x: Tensor, seen: Seen) -> Tensor:
        """x (T, C) -> (T, C)."""
        qkv = _normed(x, self.norms[0], self.epsilon, self.qkv)
        if self.head_norms is not None:
            qkv = _HeadsNormed.apply(qkv, self.head_norms, self.epsilon, seen.heads)  # type: ignore[no-untyped-call]
        x = _Attended.apply(qkv, x, seen, self.out, *self.out.parameters)  # type: ignore[no-untyped-call]
        gate_up = _normed(x, self.norms[1], self.epsilon, self.gate_up)
        found: Tensor = _Gated.apply(gate_up, x, self.down, *self.down.parameters)  # type: ignore[no-untyped-call]
        return found


def _normed(x: Tensor, weight: Tensor, epsilon: float, projection: Projection) -> Tensor:
    found: Tensor = _Normed.apply(x, weight, epsilon, projection, *projection.parameters)  # type: ignore[no-untyped-call]
    return found


class Llama:
    """A transformers model, with or without low-rank adapters, computed by `Layer`."""

    def __init__(self, model: Any) -> None:
        """`model`: must be supported, see `unsupported`."""
        shape = engine.Shape.of(model.config)
        self._decoder = model.get_decoder()
        self.layers = [Layer(one, shape) for one in self._decoder.layers]
        self._heads, self._shared = shape.kv_heads, shape.heads // shape.kv_heads
        self._rotated = [shape.rotations[one.self_attn.layer_idx] >= 0 for one in self._decoder.layers]

    def states(self, batch: Batch, *, recompute: bool = False) -> Tensor:
        """Final hidden states (S, C) at the positions that predict supervised tokens.

        `recompute`: store only each layer's input, and recompute the layer in the backward pass.
        """
        x = self._decoder.embed_tokens(batch.ids)
        rotations = self._decoder.rotary_emb(x.float(), batch.positions[None])
        cos, sin = (one[0, :, : one.shape[-1] // 2].float().contiguous() for one in rotations)
        rotated = Seen(Plan.of(batch.segments, x.device), cos, sin, self._heads, self._shared)
        still = replace(rotated, cos=torch.ones_like(cos), sin=torch.zeros_like(sin))
        for layer, turns in zip(self.layers, self._rotated, strict=True):
            seen = rotated if turns else still
            if recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, seen, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, seen)
        found: Tensor = self._decoder.norm(x[batch.sources])
        return found


def computes(config: Any, settings: TrainConfig) -> bool:
    """Whether a training with these settings of a model with this configuration uses this module."""
    plain = settings.method in ("lora", "rslora", "qlora") and not settings.dropout
    return plain and not _unsupported(config)


def _unsupported(config: Any) -> str:
    """Reason why this module can't compute a model of this configuration; empty if it can."""
    if why := engine.unsupported(config):
        return why
    shape = engine.Shape.of(config)
    if not shape.is_plain:
        return "scales, norms or gates that Llama lacks"
    if any(0 < window < LONGEST_ROW for window in shape.windows):
        return "sliding windows"
    return ""


def unsupported(model: Any) -> str:
    """Reason why this module can't compute a transformers model; empty if it can."""
    if why := _unsupported(model.config):
        return why
    for layer in model.get_decoder().layers:
        if not all(_is_plain(one) for one in _linears(layer)):
            return "linear layers other than frozen ones with plain low-rank adapters"
        if any(one.requires_grad for name, one in layer.named_parameters() if "norm" in name):
            return "trained norms"
    return ""


def _linears(layer: Any) -> Iterator[nn.Module]:
    for part, names in ((layer.self_attn, "qkvo"), (layer.mlp, ("gate", "up", "down"))):
        yield from (getattr(part, f"{name}_proj") for name in names)


def _is_plain(one: nn.Module) -> bool:
    """Whether a linear layer is frozen, with at most a plain LoRA: no DoRA, dropout or bias."""
    if not isinstance(one, LoraLinear):
        return type(one) is nn.Linear and not one.weight.requires_grad
    base = one.get_base_layer()
    return (
        type(base) is nn.Linear
        and not base.weight.requires_grad
        and list(one.lora_A) == [ADAPTER]
        and not one.lora_variant
        and not one.lora_bias.get(ADAPTER, False)
        and isinstance(one.lora_dropout[ADAPTER], nn.Identity)
    )
