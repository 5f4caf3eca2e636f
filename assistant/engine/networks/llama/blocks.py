"""Weights as ggml's blocks: what a GGUF file holds, or made here of 16- or 32-bit weights.

Layouts (ggml-quants.c of https://github.com/ggml-org/ggml): Q4_0 is a float16 scale and 16 bytes, Q4_1 a scale, a
minimum and 16 bytes, Q8_0 a scale and 32 signed bytes. Byte i of a Q4 block holds weight i below and i + 16 above.
Of the others only the sizes matter here: `decode` and `ggml.dequantise` know their layouts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from assistant.engine.formats import ggml

GROUP = 32
FLAT = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}
"""Kinds that torch and a GPU multiply with as they are -> bytes of a block of 32."""
KINDS = {name: (GROUP, size) for name, size in FLAT.items()} | {
    "Q5_0": (GROUP, 22),
    "Q5_1": (GROUP, 24),
    "IQ4_NL": (GROUP, 18),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}
"""Kinds that the C library multiplies with -> (weights, bytes) of a block."""
CHUNK_WEIGHTS = 1 << 17
"""Weights quantised at once: what is computed of them stays in the processor's cache, twelve times as fast."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """rows (N, K / weights of a block * its bytes) uint8, all of one kind."""

    kind: str
    rows: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weights: (N, K)."""
        weights, size = KINDS[self.kind]
        return self.rows.shape[0], self.rows.shape[1] // size * weights

    @property
    def bits(self) -> int:
        """Of each weight's integer."""
        return int(self.kind.removeprefix("I")[1])

    def to(self, device: torch.device) -> "Blocks":
        """The same on another device."""
        return Blocks(self.kind, self.rows.to(device))

    def planes(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Integers q (N, K) int8, scales d (N, K / 32) and minima m or None, float16: weight = d * q + m.

        Of the kinds in `FLAT`.
        """
        n, k = self.shape
        blocks = self.rows.view(n, k // GROUP, -1)
        d = blocks[..., :2].contiguous().view(torch.float16).squeeze(-1)
        if self.kind == "Q8_0":
            return blocks[..., 2:].reshape(n, k).view(torch.int8), d, None
        head = FLAT[self.kind] - 16
        low, high = blocks[..., head:] & 15, blocks[..., head:] >> 4
        q = torch.cat((low, high), dim=-1).reshape(n, k).view(torch.int8)
        if self.kind == "Q4_0":
            return q, d, d * -8  # exact: a power of two
        return q, d, blocks[..., 2:4].contiguous().view(torch.float16).squeeze(-1)

    def dequantise(self) -> Tensor:
        """The weights, (N, K) float32."""
        return ggml.dequantise(self.rows, self.kind, list(self.shape), torch.float32)


@dataclass(frozen=True, slots=True)
class Stack:
    """Matrices of one width below one another, each in blocks of its own kind: what a file mixes stays mixed."""

    parts: tuple[Blocks, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weights: (N, K)."""
        return sum(part.shape[0] for part in self.parts), self.parts[0].shape[1]

    def dequantise(self) -> Tensor:
        """The weights, (N, K) float32."""
        return torch.cat([part.dequantise() for part in self.parts])


def flat(weight: Blocks | Stack) -> Blocks:
    """The same weights in one kind of `FLAT`: as they are where they have one, else rounded to 8 bits."""
    parts = weight.parts if isinstance(weight, Stack) else (weight,)
    kinds = {part.kind for part in parts}
    if len(kinds) > 1 or not kinds <= FLAT.keys():
        return quantise(weight.dequantise(), 8)
    return Blocks(kinds.pop(), torch.cat([part.rows for part in parts])) if len(parts) > 1 else parts[0]


def quantise(weights: Tensor, bits: int) -> Blocks:
    """Blocks of weights (N, K): Q4_1 for 4 bits, Q8_0 for 8. K must be a multiple of 32."""
    step = max(1, CHUNK_WEIGHTS // weights.shape[1])
    rows = [_quantised(weights[start : start + step], bits) for start in range(0, weights.shape[0], step)]
    return Blocks("Q8_0" if bits == 8 else "Q4_1", torch.cat(rows))


def _quantised(weights: Tensor, bits: int) -> Tensor:
    groups = weights.float().view(weights.shape[0], -1, GROUP)
    if bits == 8:
        d = (groups.abs().amax(-1, keepdim=True) / 127).half()
        q = _divided(groups, d.float()).round_().clamp_(-127, 127).to(torch.int8).view(torch.uint8)
        return torch.cat((d.view(torch.uint8), q), dim=-1).flatten(1)
    d, m = _closest(groups)
    q = _nibbles(groups, d, m).to(torch.uint8)
    packed = q[..., :16] | q[..., 16:] << 4
    return torch.cat((d.view(torch.uint8), m.view(torch.uint8), packed), dim=-1).flatten(1)


def _closest(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Scales and minima (.., 1) float16 that round groups (.., 32) to 4 bits with the least squared error found.

    From the whole range and from narrower ones, each followed by the best line through what was rounded. Rounding the
    default model's weights, moved by up to half a step, costs 18 % of perplexity so, 35 % with the whole range alone.
    """
    least, most = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    middle = (least + most) / 2
    best: tuple[Tensor, Tensor, Tensor] | None = None
    total = groups.sum(-1, keepdim=True)
    for share in (1.0, 0.93, 0.86, 0.79):
        d, m = (most - least) * (share / 15), middle + (least - middle) * share
        q = _nibbles(groups, d, m)
        sum_q, spread = q.sum(-1, keepdim=True), GROUP * (q * q).sum(-1, keepdim=True) - q.sum(-1, keepdim=True) ** 2
        slope = (GROUP * (q * groups).sum(-1, keepdim=True) - sum_q * total) / spread
        d = torch.where(spread > 0, slope, d).half()
        m = ((total - d.float() * sum_q) / GROUP).half()
        error = (_nibbles(groups, d, m).mul_(d.float()).add_(m.float()) - groups).square_().sum(-1, keepdim=True)
        if best is None:
            best = error, d, m
        else:
            closer = error < best[0]
            old_error, old_d, old_m = best
            best = (
                torch.where(closer, error, old_error),
                torch.where(closer, d, old_d),
                torch.where(closer, m, old_m),
            )
    assert best is not None
    return best[1], best[2]


def _nibbles(groups: Tensor, d: Tensor, m: Tensor) -> Tensor:
    return _divided(groups - m.float(), d.float()).round_().clamp_(0, 15)


def _divided(x: Tensor, d: Tensor) -> Tensor:
    return x * torch.where(d == 0, 0.0, 1 / d)
