"""The operations of a training step between matrix products: in C on a CPU with a compiler, elsewhere in torch.

The torch code is the reference that the C code of `kernels.c` is tested against. Both take float32 and bfloat16 and sum
in float32. Tensors are contiguous.
"""

import ctypes
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from assistant.engine.hardware import compiler
from assistant.engine.hardware.machine import cpu_flags

SOURCE, TILE_SOURCE = (Path(__file__).with_name(name) for name in ("kernels.c", "attention_amx.c"))
MOST_DIM = 256
"""Largest head dimension of attention_amx.c."""
SUFFIXES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
FLAGS = ("-fopenmp", "-ffinite-math-only", "-freciprocal-math", "-mprefer-vector-width=512")


@cache
def library() -> ctypes.CDLL | None:
    """The compiled library; None without a compiler, or if torch's threads are not OpenMP's."""
    if not _share_threads():
        return None
    return compiler.library(SOURCE, FLAGS)


def _share_threads() -> bool:
    """Load torch's own OpenMP library for our code: two copies would compete for the cores."""
    with suppress(OSError):
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
        for file in sorted(set(re.findall(r"/\S*lib(?:gomp|iomp5|omp)[-.]\S*", maps)), key=len):
            ctypes.CDLL(file, mode=ctypes.RTLD_GLOBAL)
            return True
    return False


def _compiled(name: str, x: Tensor) -> Any:
    """The C function for a tensor like x; None to use torch."""
    if x.device.type != "cpu" or x.dtype not in SUFFIXES or (built := library()) is None:
        return None
    return getattr(built, f"{name}_{SUFFIXES[x.dtype]}")


@cache
def _tile_library() -> ctypes.CDLL | None:
    """The compiled AMX library; None if the CPU or the system doesn't support AMX."""
    if "amx_bf16" not in cpu_flags() or not _share_threads():
        return None
    built = compiler.library(TILE_SOURCE, FLAGS, ["-lm"])
    return built if built is not None and built.can_use_tiles() else None


def tiles(name: str, x: Tensor) -> Any:
    """The function of attention_amx.c for heads like x (..., D); None if they aren't supported."""
    if x.device.type != "cpu" or x.dtype != torch.bfloat16 or x.shape[-1] % 32 or x.shape[-1] > MOST_DIM:
        return None
    return None if (built := _tile_library()) is None else getattr(built, name)


def call(function: Any, *arguments: Tensor | int) -> None:
    """Call a C function. Raises `MemoryError` if it returns 0."""
    if not function(*(_p(one) if isinstance(one, Tensor) else _n(one) for one in arguments)):
        raise MemoryError


def _p(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())


def _n(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)


def norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """(x (T, C) / rms(x) * weight (C,), 1 / rms(x) (T,) in float32): RMSNorm, https://arxiv.org/abs/1910.07467."""
    inverse = torch.empty(len(x), dtype=torch.float32, device=x.device)
    if function := _compiled("norm", x):
        out = torch.empty_like(x)
        sizes = ctypes.c_float(epsilon), _n(len(x)), _n(x.shape[1])
        function(_p(x), _p(weight), *sizes, _p(out), _p(inverse))
        return out, inverse
    wide = x.float()
    torch.rsqrt(wide.square().mean(-1).add_(epsilon), out=inverse)
    return (wide * inverse[:, None] * weight.float()).to(x.dtype), inverse


def norm_backward(to_out: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient of x (T, C) from that of `norm`'s output (T, C), that output recomputed)."""
    if function := _compiled("norm_backward", x):
        to_x, out = torch.empty_like(x), torch.empty_like(x)
        function(*map(_p, (to_out, x, weight, inverse)), _n(len(x)), _n(x.shape[1]), _p(to_x), _p(out))
        return to_x, out
    normal = x.float() * inverse[:, None]
    to_normal = to_out.float() * weight.float()
    along = (to_normal * normal).mean(-1, keepdim=True)
    to_x = ((to_normal - normal * along) * inverse[:, None]).to(x.dtype)
    return to_x, (normal * weight.float()).to(x.dtype)


def gate(x: Tensor) -> Tensor:
    """silu(gate) * up (T, F) of x (T, 2F) = [gate, up]: SwiGLU, https://arxiv.org/abs/2002.05202."""
    width = x.shape[1] // 2
    if function := _compiled("gate", x):
        out = x.new_empty(len(x), width)
        function(_p(x), _n(len(x)), _n(width), _p(out))
        return out
    left, right = x.float().chunk(2, dim=1)
    return (silu(left) * right).to(x.dtype)


def gate_backward(to_out: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient of x (T, 2F) from that of `gate`'s output (T, F), that output recomputed)."""
    if function := _compiled("gate_backward", x):
        to_x, out = torch.empty_like(x), torch.empty_like(to_out)
        function(_p(to_out), _p(x), _n(len(x)), _n(x.shape[1] // 2), _p(to_x), _p(out))
        return to_x, out
    left, right = x.float().chunk(2, dim=1)
    gradient, gated = to_out.float(), silu(left)
    to_left = torch.ops.aten.silu_backward(gradient * right, left)
    return torch.cat([to_left, gradient * gated], dim=1).to(x.dtype), (gated * right).to(x.dtype)


def rotate(qkv: Tensor, cos: Tensor, sin: Tensor, scale: float, heads: int, shared: int) -> tuple[Tensor, ...]:
    """Split qkv (T, (H * G + 2 * H) * D) into queries (H, T * G, D), keys and values (H, T, D), and rotate queries and
    keys.

    Each of H key heads serves G query heads; cos and sin are (T, D / 2). Queries are multiplied by `scale`. Rotary
    embedding: https://arxiv.org/abs/2104.09864.
    """
    tokens, dim = len(qkv), qkv.shape[1] // (heads * (shared + 2))
    q, k, v = (qkv.new_empty(heads, tokens * count, dim) for count in (shared, 1, 1))
    if function := _compiled("rotate", qkv):
        sizes = map(_n, (tokens, heads, shared, dim))
        function(_p(qkv), _p(cos), _p(sin), ctypes.c_float(scale), *sizes, _p(q), _p(k), _p(v))
        return q, k, v
    parts = qkv.view(tokens, -1, dim).float()
    rotated = _rotated(parts[:, : heads * shared + heads], cos[:, None], sin[:, None])
    q.copy_((rotated[:, : heads * shared] * scale).view(tokens, heads, shared, dim).transpose(0, 1).reshape(q.shape))
    k.copy_(rotated[:, heads * shared :].transpose(0, 1))
    v.copy_(parts[:, heads * shared + heads :].transpose(0, 1))
    return q, k, v


def rotate_backward(
    to_q: Tensor, to_k: Tensor, to_v: Tensor, cos: Tensor, sin: Tensor, scale: float, shared: int
) -> Tensor:
    """Gradient of qkv, in the type of to_q, from those of `rotate`'s outputs; to_k and to_v are float32."""
    heads, tokens, dim = to_k.shape
    to_qkv = to_q.new_empty(tokens, heads * (shared + 2) * dim)
    if function := _compiled("rotate_backward", to_q):
        sizes = map(_n, (tokens, heads, shared, dim))
        function(*map(_p, (to_q, to_k, to_v, cos, sin)), ctypes.c_float(scale), *sizes, _p(to_qkv))
        return to_qkv
    q = to_q.float().mul(scale).view(heads, tokens, shared, dim).transpose(0, 1).reshape(tokens, -1, dim)
    rotated = _rotated(torch.cat([q, to_k.transpose(0, 1)], dim=1), cos[:, None], -sin[:, None])
    to_qkv.copy_(torch.cat([rotated, to_v.transpose(0, 1)], dim=1).flatten(1))
    return to_qkv


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    one, other = x.chunk(2, dim=-1)
    return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1)


def softmax(scores: Tensor, first: Tensor, ranges: Tensor, shared: int) -> Tensor:
    """Replace scores (H, Q * G, K) by probabilities over the keys that each of Q queries attends to; returns the
    log-sum-exp (H, Q * G), float32.

    Query i attends to the keys ranges[first[i]] .. ranges[first[i + 1] - 1]; ranges (R, 2): begin and end.
    """
    heads, rows, keys = scores.shape
    total = torch.empty(heads, rows, dtype=torch.float32, device=scores.device)
    if function := _compiled("softmax", scores):
        sizes = map(_n, (heads, rows // shared, shared, keys))
        function(_p(scores), _p(first), _p(ranges), *sizes, _p(total))
        return total
    seen = _seen(first, ranges, shared, keys)
    torch.logsumexp(scores.float().masked_fill(~seen, float("-inf")), -1, out=total)
    scores.copy_((scores - total[..., None]).exp_().masked_fill_(~seen, 0.0))
    return total


def softmax_backward(
    scores: Tensor, gradients: Tensor, first: Tensor, ranges: Tensor, shared: int, total: Tensor
) -> None:
    """Replace scores by probabilities, and the gradients (H, Q * G, K) of the probabilities by those of the scores.

    `total`: as `softmax` returned it.
    """
    heads, rows, keys = scores.shape
    if function := _compiled("softmax_backward", scores):
        sizes = map(_n, (heads, rows // shared, shared, keys))
        function(_p(scores), _p(gradients), _p(first), _p(ranges), *sizes, _p(total))
        return
    seen = _seen(first, ranges, shared, keys)
    probabilities = (scores - total[..., None]).exp_().masked_fill_(~seen, 0.0)
    wide = gradients - (probabilities * gradients).sum(-1, keepdim=True)
    scores.copy_(probabilities)
    gradients.copy_(probabilities.mul_(wide))


def _seen(first: Tensor, ranges: Tensor, shared: int, keys: int) -> Tensor:
    """(Q * G, K) bool: whether a query attends to a key."""
    places = torch.arange(keys, device=first.device)
    inside = (places >= ranges[:, :1]) & (places < ranges[:, 1:])  # [R, K]
    query = torch.repeat_interleave(torch.arange(len(first) - 1, device=first.device), first.diff().long())
    seen = torch.zeros(len(first) - 1, keys, dtype=torch.int32, device=first.device)
    return seen.index_add_(0, query, inside.int()).bool().repeat_interleave(shared, dim=0)


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, divisor: float, *, backward: bool) -> Tensor:
    """Weighted log-probabilities (S,), float32: the sum over K of weights (S, K) times log P(targets (S, K)), from
    logits (S, V) / divisor.

    The weights of a row add up to 1. `backward` replaces the logits by the gradient of the result. Raises `ValueError`
    for different numbers of rows.
    """
    if not len(logits) == len(targets) == len(weights):
        raise ValueError(f"{len(logits)} rows of logits, {len(targets)} of targets, {len(weights)} of weights")
    logprobs = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    if function := _compiled("cross_entropy", logits):
        count, rows, width = map(_n, (targets.shape[1], *logits.shape))
        of = _p(logits), _p(targets), _p(weights), count, ctypes.c_float(divisor)
        function(*of, rows, width, int(backward), _p(logprobs))
        return logprobs
    wide = logits.float() / divisor
    total = wide.logsumexp(1, keepdim=True)
    logprobs.copy_((weights * (wide.gather(1, targets) - total)).sum(1))
    if backward:
        gradient = wide.sub_(total).exp_().neg_().scatter_add_(1, targets, weights)
        logits.copy_(gradient.div_(divisor))
    return logprobs
