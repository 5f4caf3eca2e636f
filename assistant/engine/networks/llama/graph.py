"""The decode step on a GPU: the kernels of `kernels.py` in one CUDA graph, which a token costs a single launch of.

Where Triton isn't there, or the graph's first token isn't that of `model.py`, the network does without.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.engine.networks.cuda_graph import captured
from assistant.engine.networks.llama import kernels
from assistant.engine.networks.llama.blocks import FLAT, GROUP, Blocks, Stack, flat
from assistant.engine.networks.llama.low_rank import AdaptedLinear, LowRank
from assistant.engine.networks.llama.model import Layer, Model

UNPACKED_WEIGHTS = 1 << 26
"""Weights that are unpacked at once for the products of many rows: 128 MiB of bfloat16."""
SPLITS = 16
"""Programs that share the positions of one key head."""
KEYS = 64
"""Positions that attention takes at once."""
LEAST_DOT = 16
"""Rows that a tensor core's product has at least; adapters' ranks are padded to as many."""
DIMS = (16, 32, 64, 128, 256)
"""Widths of a head that the kernel can be made for: powers of two."""


class GraphLinear(AdaptedLinear):
    """Weights (N, K) in 16, 8 or 4 bits, planar as `kernels.product` reads them."""

    def __init__(self, weight: Blocks | Stack | Tensor, bias: Tensor | None = None) -> None:
        super().__init__(bias)
        self.n, self.k = weight.shape
        self.scales: Tensor | None = None
        self.minima: Tensor | None = None
        self.adapter: Joined | None = None
        if isinstance(weight, Tensor):
            self.kind, self.weight = kernels.B16, weight.contiguous()
        else:
            self._split(flat(weight))

    def _split(self, weight: Blocks) -> None:
        """Integers, scales and minima into memory of their own."""
        blocks = weight.rows.view(self.n, self.k // GROUP, FLAT[weight.kind])
        halves = blocks[..., :4].contiguous().view(torch.float16)  # the scale and, in Q4_1, the minimum
        self.scales = halves[..., 0].contiguous()
        if weight.kind == "Q8_0":
            self.kind, self.weight = kernels.Q8, blocks[..., 2:].contiguous().view(torch.int8).view(self.n, self.k)
            return
        self.kind, self.weight = kernels.Q4, blocks[..., -16:].contiguous().view(self.n, self.k // 2)
        self.minima = self.scales * -8 if weight.kind == "Q4_0" else halves[..., 1].contiguous()

    def embedding(self) -> nn.Module:
        return GraphEmbedding(self)

    def adapt(self, parts: Sequence[LowRank]) -> None:
        super().adapt(parts)
        self.adapter = _joined(parts, self.n, self.k) if parts else None

    def product(self, x: Tensor) -> Tensor:
        if self.kind == kernels.B16:
            return F.linear(x, self.weight)
        if x.shape[0] == 1:
            y = torch.empty(self.n, device=x.device)
            launch_product(self, x[0].float(), y, base=True)
            return y.unsqueeze(0).to(x.dtype)
        step = max(1, UNPACKED_WEIGHTS // self.k)
        parts = [F.linear(x, self.unpacked(at, min(self.n, at + step)).to(x.dtype)) for at in range(0, self.n, step)]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def unpacked(self, first: int, last: int) -> Tensor:
        """Rows first..last as bfloat16."""
        out = torch.empty(last - first, self.k, dtype=torch.bfloat16, device=self.weight.device)
        block = 1024
        minima = None if self.minima is None else self.minima[first:last]
        assert self.scales is not None
        kernels.unpack[(-(-out.numel() // block),)](
            self.weight[first:last], self.scales[first:last], minima, out, out.numel(), self.kind, block
        )
        return out


class GraphEmbedding(nn.Module):
    """Rows of a `GraphLinear`: an embedding tied to the head is held once."""

    def __init__(self, linear: GraphLinear) -> None:
        super().__init__()
        self.linear = linear
        self.num_embeddings = linear.weight.shape[0]

    def forward(self, ids: Tensor) -> Tensor:
        """ids (S,) -> (S, C) bfloat16."""
        w = self.linear
        rows = F.embedding(ids, w.weight)
        if w.scales is None:
            return rows
        if w.minima is not None:
            nibbles = rows.view(len(ids), -1, GROUP // 2)
            rows = torch.cat((nibbles & 15, nibbles >> 4), dim=-1)
        wide = rows.view(len(ids), -1, GROUP).float() * F.embedding(ids, w.scales).unsqueeze(-1)
        if w.minima is not None:
            wide = wide + F.embedding(ids, w.minima).unsqueeze(-1)
        return wide.flatten(1).bfloat16()


@dataclass(frozen=True, slots=True)
class Joined:
    """All parts of an adapter for one linear, as one: gain * (W x + b a x)."""

    a: GraphLinear
    """(R, K) float32; R is a power of two."""
    b: Tensor
    """(N, R) float32."""
    gain: Tensor
    """(N,) float32."""


def _joined(parts: Sequence[LowRank], n: int, k: int) -> Joined:
    rank = _power_of_two(max(LEAST_DOT, sum(part.a.shape[0] for part in parts)))
    with parts[0].a.device:
        a, b, gain = torch.zeros(rank, k), torch.zeros(n, rank), torch.ones(n)
    at = 0
    for part in parts:
        rows, columns = slice(part.first_row, part.first_row + part.b.shape[0]), slice(at, at + part.a.shape[0])
        a[columns], b[rows, columns] = part.a, part.b
        if part.gain is not None:
            gain[rows] = part.gain
        at = columns.stop
    return Joined(GraphLinear(a), b, gain)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def launch_product(
    w: GraphLinear,
    x: Tensor,
    y: Tensor,
    *,
    norm: Tensor | None = None,
    eps: float = 0.0,
    gated: bool = False,
    residual: Tensor | None = None,
    base: bool = False,
) -> None:
    """y (N,) = W x (K,) as `kernels.product` has it; with `base` without bias and adapter."""
    adapter, bias = (None, None) if base else (w.adapter, w.bias)
    inner = b = gain = None
    if adapter is not None:
        inner, b, gain = torch.empty(adapter.a.n, device=x.device), adapter.b, adapter.gain
        launch_product(adapter.a, x, inner, norm=norm, eps=eps)
    n, room = y.shape[0], _power_of_two(w.k)
    rank, rows, columns = 0 if b is None else b.shape[1], 4 if n <= 4096 else 8, min(1024, room)
    kernels.product[(-(-n // rows),)](
        *(x, norm, w.weight, w.scales, w.minima, bias, inner, b, gain, residual, y),
        *(n, w.k, w.kind, eps, gated, rank, rows, columns, room),
        num_warps=4,
    )


def unsupported(model: Model) -> str:
    """Why the kernels can't compute this model; empty where they can."""
    shape = model.shape
    if model.dtype != torch.bfloat16:
        return f"computed in {model.dtype}"
    if not shape.is_plain:
        return "scales, norms or gates that Llama lacks"
    if shape.head_dim not in DIMS:
        return f"heads {shape.head_dim} wide"
    linears = [
        model.head,
        *(one for layer in model.layers for one in (layer.qkv, layer.out, layer.gate_up, layer.down)),
    ]
    if not all(isinstance(one, GraphLinear) for one in linears):
        return "weights that aren't planar"
    return ""


class GraphStepper:
    """One token of one conversation at a time."""

    TOLERANCE = 0.99
    """Least cosine between the logits of both forward passes. In bfloat16 sixteen layers of noise leave 0.9995."""

    def __init__(self, model: Model) -> None:
        """`model` is one for which `unsupported` is empty."""
        self._model, shape = model, model.shape
        device = model.norm.device
        self._group = _power_of_two(max(LEAST_DOT, shape.heads // shape.kv_heads))
        self._cursor = torch.zeros(5, dtype=torch.int64, device=device)
        self._x = torch.empty(shape.width, device=device)
        self._qkv = torch.empty((shape.heads + 2 * shape.kv_heads) * shape.head_dim, device=device)
        self._attended = torch.empty(shape.heads * shape.head_dim, device=device)
        self._hidden = torch.empty(shape.hidden, device=device)
        self._logits = torch.empty(shape.vocabulary, device=device)
        self._parts = torch.empty(shape.kv_heads * SPLITS * self._group * (shape.head_dim + 2), device=device)
        self._arrived = torch.zeros(shape.kv_heads, dtype=torch.int32, device=device)
        self._replay: Callable[[], None] | None = None

    def refresh(self) -> None:
        """Take the linears' adapters as they are now, at the next token."""
        self._replay = None

    def __call__(self, token: int, kv: Tensor, position: int) -> Tensor:
        """Logits (1, V) float32 after `token`, which stands at `position` and joins kv (layers, 2, H_kv, T, D)."""
        rotation = self._model.rotaries[0].upto(position, position + 1)
        self._cursor.copy_(torch.tensor((token, position, kv.data_ptr(), kv.shape[3], rotation.data_ptr())))
        if self._replay is None:
            self._replay = captured(self.launch, self._cursor.device)
        self._replay()
        return self._logits.unsqueeze(0).clone()

    def agrees(self) -> bool:
        """Whether it gives the logits of the model's own forward pass for a few tokens: each GPU is tried once."""
        kv = self._model.empty_kv(KEYS, torch.bfloat16).zero_()
        ids = torch.arange(4, device=self._cursor.device)
        self._model(ids[:3], kv, 0)
        wanted = self._model(ids[3:], kv.clone(), 3).float()
        found = self(3, kv, 3)
        return bool(F.cosine_similarity(wanted, found).item() >= self.TOLERANCE)

    def launch(self) -> None:
        """All kernels of the token that the cursor names."""
        model, eps = self._model, self._model.shape.eps
        self._x.copy_(model.embed(self._cursor[:1])[0])
        for index, layer in enumerate(model.layers):
            self._layer(layer, index)
        launch_product(_linear(model.head), self._x, self._logits, norm=model.norm, eps=eps)

    def _layer(self, layer: Any, index: int) -> None:
        eps, x = self._model.shape.eps, self._x
        launch_product(_linear(layer.qkv), x, self._qkv, norm=layer.attention_norm, eps=eps)
        self._attend(layer, index)
        launch_product(_linear(layer.out), self._attended, x, residual=x)
        launch_product(_linear(layer.gate_up), x, self._hidden, norm=layer.hidden_norm, eps=eps, gated=True)
        launch_product(_linear(layer.down), self._hidden, x, residual=x)

    def _attend(self, layer: Layer, index: int) -> None:
        s = self._model.shape
        norm = layer.qk_norm if s.qk_norm else None
        kernels.attention[(s.kv_heads, SPLITS)](
            *(self._qkv, norm, self._cursor, self._parts, self._arrived, self._attended, index),
            *(s.heads, s.kv_heads, s.head_dim, layer.window, layer.rotation == 0, s.eps, self._group, KEYS, SPLITS),
            num_warps=4,
        )


def _linear(module: Any) -> GraphLinear:
    assert isinstance(module, GraphLinear)
    return module
