"""Attention over a forest of tokens: each token attends to its own row, and nothing is computed for other rows.

Tokens are processed in chunks, with the keys that any token of the chunk attends to. So a long row costs half of its
square, and many short rows cost little. Scores are recomputed in the backward pass, as in FlashAttention
(https://arxiv.org/abs/2205.14135): memory is linear in the tokens.

Matrix products are torch's, in the precision of the model; gradients of keys and values are summed in float32.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from finetune.data.pack import Range, Segment
from finetune.network import kernels

CHUNK = 256
"""Tokens of a chunk: smaller chunks make small products, larger ones compute more masked scores."""
EVEN = 64
"""Chunks and their keys are padded to a multiple of this where possible: each new shape costs milliseconds once."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Queries begin..end, and the key ranges `keys` that they attend to, in order.

    Query begin + i attends to keys ranges[first[i]] .. ranges[first[i + 1] - 1], counted within `keys`. The last
    queries may be padding that belongs to the next chunk: they attend to nothing, and the next chunk overwrites them.
    """

    begin: int
    end: int
    keys: tuple[Range, ...]
    first: Tensor
    """(end - begin + 1,) int32."""
    ranges: Tensor
    """(R, 2) int32."""


def chunks(segments: Sequence[Segment], device: torch.device, size: int = CHUNK) -> list[Chunk]:
    """Contiguous segments in chunks of at most `size` tokens."""
    tokens = segments[-1].end
    return [_chunk(parts, tokens, device) for parts in _grouped(segments, size)]


def _grouped(segments: Iterable[Segment], size: int) -> Iterator[list[Segment]]:
    """Split long segments and join short ones into groups of at most `size` tokens."""
    some: list[Segment] = []
    for segment in segments:
        length = segment.end - segment.begin
        if some and (length > size // 2 or segment.end - some[0].begin > size):
            yield some
            some = []
        for begin in range(segment.begin, segment.end, size):
            before = segment.before if begin == segment.begin else (*segment.before, (segment.begin, begin))
            some.append(Segment(begin, min(begin + size, segment.end), before))
            if length > size:
                yield some
                some = []
    if some:
        yield some


def _chunk(parts: Sequence[Segment], tokens: int, device: torch.device) -> Chunk:
    begin, end = parts[0].begin, parts[-1].end
    even = min(tokens, begin - (begin - end) // EVEN * EVEN)
    keys = _union([*(one for part in parts for one in part.before), (begin, end)])
    count = sum(stop - start for start, stop in keys)
    keys = (*keys[:-1], (keys[-1][0], min(tokens, keys[-1][1] - count % -EVEN)))
    starts = np.cumsum([0, *(stop - start for start, stop in keys)])[:-1]
    edges = np.array([start for start, _ in keys])

    def place(token: int) -> int:
        """Index of a token among the keys."""
        number = int(np.searchsorted(edges, token, side="right")) - 1
        return int(starts[number]) + token - keys[number][0]

    first, ranges = _ranges(parts, place)
    first = torch.cat([first, first[-1:].expand(even - end)])
    return Chunk(begin, even, keys, first.to(device), ranges.to(device))


def _ranges(segments: Sequence[Segment], place: Callable[[int], int]) -> tuple[Tensor, Tensor]:
    """(first, ranges) of the segments' tokens, as in `Plan`; `place` maps a token to its index."""
    counts, ranges = [np.zeros(1, np.int64)], list[np.ndarray]()
    for one in segments:
        length, seen, own = one.end - one.begin, _union(one.before), place(one.begin)
        rows = np.empty((length, len(seen) + 1, 2), np.int32)
        for number, (start, stop) in enumerate(seen):
            rows[:, number] = place(start), place(start) + stop - start
        rows[:, -1, 0], rows[:, -1, 1] = own, own + np.arange(1, length + 1)
        ranges.append(rows.reshape(-1, 2))
        counts.append(np.full(length, len(seen) + 1))
    first = np.cumsum(np.concatenate(counts)).astype(np.int32)
    return torch.from_numpy(first), torch.from_numpy(np.concatenate(ranges))


def _union(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Sorted ranges, with touching or overlapping ones merged."""
    found: list[Range] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return tuple(found)


@dataclass(frozen=True)
class Plan:
    """The tokens that each of T tokens attends to: for token i ranges[first[i]] .. ranges[first[i + 1] - 1].

    T is a multiple of `EVEN`.
    """

    segments: Sequence[Segment]
    first: Tensor
    """(T + 1,) int32."""
    ranges: Tensor
    """(R, 2) int32: begin and end."""

    @classmethod
    def of(cls, segments: Sequence[Segment], device: torch.device) -> "Plan":
        """The plan of contiguous segments."""
        first, ranges = _ranges(segments, lambda token: token)
        return cls(segments, first.to(device), ranges.to(device))

    @cached_property
    def chunks(self) -> list[Chunk]:
        """The tokens in chunks, for attention in torch."""
        return chunks(self.segments, self.first.device)


def attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> tuple[Tensor, list[Tensor]]:
    """Attention output (T, H * G * D) of queries (H, T * G, D) over keys and values (H, T, D).

    Also returns, for `backward`, the float32 log-sum-exp of each query's scores.
    """
    (heads, tokens, dim), totals = k.shape, list[Tensor]()
    shared = q.shape[1] // tokens
    out = q.new_empty(tokens, heads, shared, dim)
    if function := kernels.tiles("attention", q):
        total = torch.empty(heads, tokens * shared)
        kernels.call(function, q, k, v, plan.first, plan.ranges, heads, tokens, shared, dim, out, total)
        return out.flatten(1), [total]
    for one in plan.chunks:
        scores = torch.bmm(_queries(q, one, shared), _attended(k, one).mT)  # [H, Q * G, K]
        totals.append(kernels.softmax(scores, one.first, one.ranges, shared))
        found = torch.bmm(scores, _attended(v, one))  # [H, Q * G, D]
        out[one.begin : one.end] = found.view(heads, -1, shared, dim).transpose(0, 1)
    return out.flatten(1), totals


def backward(
    to_out: Tensor, q: Tensor, k: Tensor, v: Tensor, plan: Plan, totals: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, and in float32 of k and v, from the gradient of `attend`'s output."""
    (heads, tokens, dim), shared = k.shape, q.shape[1] // k.shape[1]
    to_q = torch.empty_like(q)
    to_k, to_v = (torch.zeros(k.shape, dtype=torch.float32, device=k.device) for _ in range(2))
    if function := kernels.tiles("attention_backward", q):
        threads = torch.get_num_threads()
        sums = torch.empty(threads, 2, *k.shape)
        sizes = heads, tokens, shared, dim
        kernels.call(
            function, to_out, q, k, v, plan.first, plan.ranges, *sizes, *totals, to_q, to_k, to_v, sums, threads
        )
        return to_q, to_k, to_v
    gradients = to_out.view(tokens, heads, shared, dim).transpose(0, 1).contiguous().view(q.shape)
    for one, total in zip(plan.chunks, totals, strict=True):
        gradient, queries, keys = _queries(gradients, one, shared), _queries(q, one, shared), _attended(k, one)
        scores, to_scores = torch.bmm(queries, keys.mT), torch.bmm(gradient, _attended(v, one).mT)
        kernels.softmax_backward(scores, to_scores, one.first, one.ranges, shared, total)
        _add(to_v, one.keys, torch.bmm(scores.mT, gradient))
        _add(to_k, one.keys, torch.bmm(to_scores.mT, queries))
        _queries(to_q, one, shared).copy_(torch.bmm(to_scores, keys))
    return to_q, to_k, to_v


def _queries(q: Tensor, one: Chunk, shared: int) -> Tensor:
    """The queries of a chunk, or values of the same shape (H, Q * G, D)."""
    return q[:, one.begin * shared : one.end * shared]


def _attended(x: Tensor, one: Chunk) -> Tensor:
    """The keys or values that a chunk attends to (H, K, D)."""
    if len(one.keys) == 1:
        return x[:, slice(*one.keys[0])]
    return torch.cat([x[:, begin:end] for begin, end in one.keys], dim=1)


def _add(x: Tensor, ranges: Sequence[Range], more: Tensor) -> None:
    at = 0
    for begin, end in ranges:
        x[:, begin:end] += more[:, at : at + end - begin]
        at += end - begin
