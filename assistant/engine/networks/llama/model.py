"""The Llama family's forward pass in torch: token ids in, logits out, keys and values kept in a static cache.

It is what runs on a GPU and on CPUs that the C library isn't made for; elsewhere it computes whole texts, and long
prompts where the CPU is fast at bfloat16. The library does the rest, with the very same modules' weights. What tells
the family's members from Llama is switches of `Shape`: norms, scales, gates, windows and rotary embeddings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.engine.networks.llama.blocks import Blocks, Stack
from assistant.engine.networks.llama.low_rank import AdaptedLinear, PlainLinear
from assistant.engine.networks.llama.packed import BlockEmbedding
from assistant.engine.networks.llama.rotary import Rotary, side_by_side
from assistant.engine.networks.llama.shape import Shape, rope_parameters

TWO_NORMS = {"attention_norm": "input_layernorm", "hidden_norm": "post_attention_layernorm"}
FOUR_NORMS = {
    "attention_norm": "input_layernorm",
    "attended_norm": "post_attention_layernorm",
    "hidden_norm": "pre_feedforward_layernorm",
    "made_norm": "post_feedforward_layernorm",
}
"""A layer's norms, and what Hugging Face calls them."""
EMBEDDING, HEAD_MODULE = "model.embed_tokens.weight", "lm_head"
HEAD = f"{HEAD_MODULE}.weight"
FUSED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "qkv": ("self_attn", ("q_proj", "k_proj", "v_proj")),
    "out": ("self_attn", ("o_proj",)),
    "gate_up": ("mlp", ("gate_proj", "up_proj")),
    "down": ("mlp", ("down_proj",)),
}
"""A layer's linears: the block and the projections of Hugging Face's that each joins, in the order of its rows."""


class Model(nn.Module):
    """Embedding, layers, head. `kv` is (layers, 2, H_kv, T, D): keys and values of one conversation."""

    def __init__(self, shape: Shape, rotaries: Sequence[Rotary], dtype: torch.dtype) -> None:
        super().__init__()
        self.shape, self.rotaries = shape, rotaries
        self.dtype = dtype
        """What is computed in where the linears don't say otherwise."""
        rows = torch.empty(shape.vocabulary, shape.width)  # at random it would load torch's compiler: 1 s, 100 MB
        self.embed = nn.Embedding(shape.vocabulary, shape.width, _weight=rows)
        self.layers = nn.ModuleList(Layer(shape, index) for index in range(shape.layers))
        self.norm = nn.Parameter(torch.empty(shape.width))
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)

    def empty_kv(self, length: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """A cache for `length` positions. The system gives memory to its pages as they are written."""
        shape = self.shape
        return torch.empty(
            shape.layers, 2, shape.kv_heads, length, shape.head_dim, dtype=dtype, device=self.norm.device
        )

    def forward(self, ids: Tensor, kv: Tensor, start: int, last: int = 1, tree: "Tree | None" = None) -> Tensor:
        """Logits (last, V) of what follows the `last` ids of ids (S,), which stand at start.. and join `kv`."""
        logits: Tensor = self.head(self.hidden(ids, kv, start, tree)[-last:])
        return logits if self.shape.logits_scale == 1 else logits * self.shape.logits_scale

    def hidden(self, ids: Tensor, kv: Tensor, start: int, tree: "Tree | None" = None) -> Tensor:
        """The last layer's output (S, C), normed: what the head reads."""
        return self.hidden_of(self.embedded(ids), kv, start, tree)

    def embedded(self, ids: Tensor) -> Tensor:
        """What the first layer reads for ids (S,): (S, C)."""
        x: Tensor = self.embed(ids)
        return x if self.shape.embed_scale == 1 else x * torch.tensor(self.shape.embed_scale).to(x.dtype)

    def hidden_of(self, x: Tensor, kv: Tensor, start: int, tree: "Tree | None" = None) -> Tensor:
        """As `hidden`, of embeddings x (S, C)."""
        rotations = [rotary.upto(start, start + len(x)) for rotary in self.rotaries]  # [S, D/2] each
        if tree is not None:
            rotations = [one[tree.depths] for one in rotations]
        for layer, which, cache in zip(self.layers, self.shape.rotations, kv, strict=True):
            x = layer(x, cache, start, rotations[which].unsqueeze(1) if which >= 0 else None, tree)
        return normed(x, self.norm, self.shape.eps)


class Tree:
    """Ids that follow one another in branches: each sees what was before them all, its ancestors and itself."""

    def __init__(self, parents: Sequence[int], device: torch.device) -> None:
        sees = torch.eye(len(parents), dtype=torch.bool)
        for node, parent in enumerate(parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        self.depths = (sees.sum(1) - 1).to(device)  # [S]
        self.sees = sees.to(device)  # [S, S]


class Layer(nn.Module):
    """Attention, then the gated perceptron, each added to what came in."""

    def __init__(self, shape: Shape, index: int) -> None:
        super().__init__()
        self.shape = shape
        self.rotation, self.window = shape.rotations[index], shape.windows[index]
        heads = shape.heads * shape.head_dim
        self.attention_norm = nn.Parameter(torch.empty(shape.width))
        self.qkv = nn.Linear(shape.width, heads + 2 * shape.kv_heads * shape.head_dim)
        if shape.qk_norm:
            self.qk_norm = nn.Parameter(torch.empty(shape.heads + shape.kv_heads, shape.head_dim))
        self.out = nn.Linear(heads, shape.width)
        self.hidden_norm = nn.Parameter(torch.empty(shape.width))
        self.gate_up = nn.Linear(shape.width, 2 * shape.hidden)
        self.down = nn.Linear(shape.hidden, shape.width)
        if shape.norms_after:
            self.attended_norm = nn.Parameter(torch.empty(shape.width))
            self.made_norm = nn.Parameter(torch.empty(shape.width))

    def forward(self, x: Tensor, kv: Tensor, start: int, rotations: Tensor | None, tree: Tree | None = None) -> Tensor:
        """x (S, C) -> (S, C), with kv (2, H_kv, T, D) and the rotations of these positions, if the layer has any."""
        shape = self.shape
        q = self.project(normed(x, self.attention_norm, shape.eps), kv, start, rotations)
        x = self.added(x, self.out(self.attend(q, kv, start, tree)), "attended_norm")
        h = self.gate_up(normed(x, self.hidden_norm, shape.eps))  # [S, 2 * hidden]
        gate, up = h[:, : shape.hidden], h[:, shape.hidden :]
        gate = F.gelu(gate, approximate="tanh") if shape.gelu else F.silu(gate)
        return self.added(x, self.down(gate.mul_(up)), "made_norm")

    def added(self, x: Tensor, made: Tensor, norm: str) -> Tensor:
        """x and what a block made of it."""
        if self.shape.norms_after:
            made = normed(made, getattr(self, norm), self.shape.eps)
        return x + (made if self.shape.residual_scale == 1 else made * self.shape.residual_scale)

    def project(self, x: Tensor, kv: Tensor, start: int, rotations: Tensor | None) -> Tensor:
        """Queries (S, H, D) of x (S, C); its keys and values join the cache."""
        s = self.shape
        qkv = self.qkv(x).view(x.shape[0], -1, s.head_dim)  # [S, H + 2 * H_kv, D]
        qk, v = qkv[:, : -s.kv_heads], qkv[:, -s.kv_heads :]
        if s.qk_norm:
            qk = normed(qk, self.qk_norm, s.eps)
        if rotations is not None:
            pairs = torch.view_as_complex(qk.float().unflatten(-1, (-1, 2)))
            qk = torch.view_as_real(pairs * rotations).flatten(-2)
        end = start + x.shape[0]
        kv[0, :, start:end].copy_(qk[:, s.heads :].transpose(0, 1))
        kv[1, :, start:end].copy_(v.transpose(0, 1))
        queries: Tensor = qk[:, : s.heads].to(x.dtype)
        return queries

    def attend(self, q: Tensor, kv: Tensor, start: int, tree: Tree | None) -> Tensor:
        """Values (S, H * D) that the queries (S, H, D) find. A key is read once for all the heads that share it."""
        s, count = self.shape, q.shape[0]
        end = start + count
        first = max(0, start + 1 - self.window) if self.window else 0
        keys, values = kv[:, None, :, first:end].to(q.dtype)  # [1, H_kv, T, D] each
        if count == 1:
            grouped = q.view(1, s.kv_heads, -1, s.head_dim)  # [1, H_kv, G, D]
            return F.scaled_dot_product_attention(grouped, keys, values, scale=s.attention_scale).reshape(1, -1)
        causal = end == count and not self.window and tree is None
        out = F.scaled_dot_product_attention(
            q.transpose(0, 1).unsqueeze(0),
            keys,
            values,
            attn_mask=None if causal else self.mask(start, end, first, tree, q.device),
            is_causal=causal,
            enable_gqa=s.heads != s.kv_heads,
            scale=s.attention_scale,
        )  # [1, H, S, D]
        return out[0].transpose(0, 1).reshape(count, -1)

    def mask(self, start: int, end: int, first: int, tree: Tree | None, device: torch.device) -> Tensor:
        """Which of the keys first..end each query start..end sees, (S, T)."""
        keys = torch.arange(first, end, device=device)
        queries = torch.arange(start, end, device=device) if tree is None else start + tree.depths
        back = queries.unsqueeze(1) - keys
        seen = back >= 0
        if tree is not None:
            seen[:, start - first :] = tree.sees
            back[:, start - first :] = 0
        return seen & (back < self.window) if self.window else seen


def normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x over the root of its mean square, times weight; in float32, as transformers does."""
    if x.is_cuda and weight.ndim == 1 and weight.dtype == x.dtype:
        return F.rms_norm(x, weight.shape, weight, eps)  # one kernel instead of nine
    wide = x.float()
    scale = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    if weight.dtype == x.dtype:
        out: Tensor = weight * (wide * scale).to(x.dtype)
    else:
        out = (weight * (wide * scale)).to(x.dtype)  # Gemma's, whose weights are 1 + what is stored
    return out


@dataclass(frozen=True, slots=True)
class Part:
    """What one linear is made of."""

    weight: "Tensor | Blocks | Stack"
    bias: Tensor | None = None


Linear = Callable[["Tensor | Blocks | Stack", Tensor | None], nn.Module]
Weights = Mapping[str, "Tensor | Blocks"]


def build(config: Any, weights: Weights, linear: Linear = lambda weight, bias: plain(weight, bias)) -> Model:
    """A model of Hugging Face's tensors: on the meta device first, then given the tensors, so nothing is held twice.

    `linear` makes a module of a weight and a bias.
    """
    shape = Shape.of(config)
    norm = _vector(weights, "model.norm.weight")
    rotaries = [Rotary(config, kind, shape.head_dim, norm.device) for kind in rope_parameters(config)]
    with torch.device("meta"):
        model = Model(shape, rotaries, norm.dtype)
    put(model, dict(pieces(shape, weights, linear)))
    return model.eval().requires_grad_(False)


def pieces(
    shape: Shape, weights: Weights, linear: Linear, only: Set[str] | None = None
) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """The parts of a `Model` by their paths in it; with `only` those that one of these tensors is part of."""
    head: nn.Module | None = None
    for name, sources, part in linears(shape, weights):
        if only is None or not only.isdisjoint(sources):
            made = part()
            _refuse_shape(name, made.weight.shape, shape.linear(name))
            module = linear(made.weight, made.bias)
            head = module if name == "head" else head
            yield name, module
    for name, sources, value in vectors(shape, weights):
        if only is None or not only.isdisjoint(sources):
            made_vector = value()
            _refuse_shape(name, made_vector.shape, shape.vector(name))
            yield name, nn.Parameter(made_vector, requires_grad=False)
    if only is None or EMBEDDING in only:
        yield "embed", _embedding(weights, head)


def _refuse_shape(name: str, seen: Sequence[int], wanted: Sequence[int]) -> None:
    """Raise `ValueError`: the C library would read beyond the end."""
    if tuple(seen) != tuple(wanted):
        raise ValueError(f"{name} has the shape {tuple(seen)}, not {tuple(wanted)}")


def put(model: Model, parts: Mapping[str, nn.Module | nn.Parameter]) -> dict[str, nn.Module | nn.Parameter]:
    """Compute with these parts from now on; those that were in their place."""
    before: dict[str, nn.Module | nn.Parameter] = {}
    for name, part in parts.items():
        path, _, last = name.rpartition(".")
        parent = model.get_submodule(path)
        before[name] = getattr(parent, last)
        setattr(parent, last, part)
    return before


def plain(weight: "Tensor | Blocks | Stack", bias: Tensor | None) -> PlainLinear:
    """A linear in torch's own product; blocks are dequantised."""
    return PlainLinear(weight if isinstance(weight, Tensor) else weight.dequantise(), bias)


def _embedding(weights: Weights, head: nn.Module | None) -> nn.Module:
    """The rows of the embedding: those of the head where it is tied, so that they are held once."""
    if HEAD not in weights and isinstance(head, AdaptedLinear) and (shared := head.embedding()):
        return shared
    rows = weights[EMBEDDING]
    if isinstance(rows, Blocks):
        return BlockEmbedding(rows, _vector(weights, "model.norm.weight").dtype)
    return nn.Embedding(rows.shape[0], rows.shape[1], _weight=rows)


def linears(shape: Shape, weights: Weights) -> Iterator[tuple[str, Sequence[str], Callable[[], Part]]]:
    """(path, the tensors of Hugging Face's that it is made of, what makes it) of each linear."""

    def head() -> Part:
        bias = _vector(weights, f"{HEAD_MODULE}.bias") if f"{HEAD_MODULE}.bias" in weights else None
        return Part(weights[HEAD if HEAD in weights else EMBEDDING], bias)

    yield "head", (HEAD if HEAD in weights else EMBEDDING, f"{HEAD_MODULE}.bias"), head
    for index in range(shape.layers):
        for name, (block, projections) in FUSED.items():
            path = f"model.layers.{index}.{block}"
            sources = [f"{path}.{one}.{kind}" for one in projections for kind in ("weight", "bias")]
            yield f"layers.{index}.{name}", sources, partial(_joined, weights, path, projections, shape.head_dim)


def vectors(shape: Shape, weights: Weights) -> Iterator[tuple[str, Sequence[str], Callable[[], Tensor]]]:
    """As `linears`, of the weights of the norms."""
    yield "norm", ("model.norm.weight",), partial(_norm, shape, weights, "model.norm.weight")
    for index in range(shape.layers):
        theirs, ours = f"model.layers.{index}", f"layers.{index}"
        for name, norm in (FOUR_NORMS if shape.norms_after else TWO_NORMS).items():
            source = f"{theirs}.{norm}.weight"
            yield f"{ours}.{name}", (source,), partial(_norm, shape, weights, source)
        if shape.qk_norm:
            sources = [f"{theirs}.self_attn.{one}_norm.weight" for one in "qk"]
            yield f"{ours}.qk_norm", sources, partial(_qk_norm, shape, weights, *sources)


def _qk_norm(shape: Shape, weights: Weights, q: str, k: str) -> Tensor:
    """(H + H_kv, D): the norm of each query head, then of each key head."""
    norms = [side_by_side(_norm(shape, weights, one), shape.head_dim) for one in (q, k)]
    return torch.cat([norm.expand(count, -1) for norm, count in zip(norms, (shape.heads, shape.kv_heads), strict=True)])


def _norm(shape: Shape, weights: Weights, name: str) -> Tensor:
    """A norm's weights as they are multiplied with: those that lie around 0 in float32, which holds 1 + them."""
    stored = _vector(weights, name)
    return stored.float() + shape.norm_offset if shape.norm_offset else stored


def _vector(weights: Weights, name: str) -> Tensor:
    found = weights[name]
    assert isinstance(found, Tensor), "only matrices are in blocks"
    return found


def _joined(weights: Weights, path: str, names: tuple[str, ...], head_dim: int) -> Part:
    """Projections below one another, queries and keys with the pairs they are rotated in side by side."""

    def ordered(name: str, rows: Tensor) -> Tensor:
        return side_by_side(rows, head_dim) if name in ("q_proj", "k_proj") else rows

    parts = {name: weights[f"{path}.{name}.weight"] for name in names}
    named = [(name, f"{path}.{name}.bias") for name in names if f"{path}.{name}.bias" in weights]
    biases = [ordered(name, _vector(weights, theirs)) for name, theirs in named]
    bias = torch.cat(biases) if biases else None
    blocks = [Blocks(part.kind, ordered(name, part.rows)) for name, part in parts.items() if isinstance(part, Blocks)]
    if len(blocks) == len(parts):
        return Part(Stack(tuple(blocks)) if len(blocks) > 1 else blocks[0], bias)
    plain = {name: part.dequantise() if isinstance(part, Blocks) else part for name, part in parts.items()}
    if len(plain) == 1 and not isinstance(next(iter(parts.values())), Blocks):
        return Part(next(iter(plain.values())), bias)  # not copied
    return Part(torch.cat([ordered(name, part) for name, part in plain.items()]), bias)
