"""Weights as ggml's blocks of 32: what a GGUF file holds, or made here of 16- or 32-bit weights.

Layouts (ggml-quants.c of https://github.com/ggml-org/ggml): Q4_0 is a float16 scale and 16 bytes, Q4_1 a scale, a
minimum and 16 bytes, Q8_0 a scale and 32 signed bytes. Byte i of a Q4 block holds weight i below and i + 16 above.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 32
BYTES = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}


@dataclass(frozen=True, slots=True)
class Blocks:
    """rows (N, K / 32 * bytes of a block) uint8, all of one kind."""

    kind: str
    rows: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weights: (N, K)."""
        return self.rows.shape[0], self.rows.shape[1] // BYTES[self.kind] * GROUP

    @property
    def bits(self) -> int:
        """Of each weight's integer: 4 or 8."""
        return 8 if self.kind == "Q8_0" else 4

    def parts(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Integers q (N, K) int8, scales d (N, K / 32) and minima m or None, float16: weight = d * q + m."""
        n, k = self.shape
        blocks = self.rows.view(n, k // GROUP, -1)
        d = blocks[..., :2].contiguous().view(torch.float16).squeeze(-1)
        if self.kind == "Q8_0":
            return blocks[..., 2:].reshape(n, k).view(torch.int8), d, None
        head = BYTES[self.kind] - 16
        low, high = blocks[..., head:] & 15, blocks[..., head:] >> 4
        q = torch.cat((low, high), dim=-1).reshape(n, k).view(torch.int8)
        if self.kind == "Q4_0":
            return q, d, d * -8  # exact: a power of two
        return q, d, blocks[..., 2:4].contiguous().view(torch.float16).squeeze(-1)

    def dequantise(self) -> Tensor:
        """The weights, (N, K) float32."""
        q, d, m = self.parts()
        wide = q.view(*d.shape, GROUP).float() * d.float().unsqueeze(-1)
        return (wide if m is None else wide + m.float().unsqueeze(-1)).view(q.shape)


def stack(blocks: Sequence[Blocks]) -> Blocks:
    """Below one another."""
    return Blocks(blocks[0].kind, torch.cat([one.rows for one in blocks]))


def quantise(weights: Tensor, bits: int) -> Blocks:
    """Blocks of weights (N, K): Q4_1 for 4 bits, Q8_0 for 8. K must be a multiple of 32."""
    groups = weights.float().unflatten(1, (-1, GROUP))
    least, most = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    if bits == 8:
        d = (torch.maximum(-least, most) / 127).half()
        q = _divided(groups, d.float()).round_().clamp_(-127, 127).to(torch.int8).view(torch.uint8)
        return Blocks("Q8_0", torch.cat((d.view(torch.uint8), q), dim=-1).flatten(1))
    d, m = ((most - least) / 15).half(), least.half()
    q = _divided(groups - m.float(), d.float()).round_().clamp_(0, 15).to(torch.uint8)
    packed = q[..., :16] | q[..., 16:] << 4
    return Blocks("Q4_1", torch.cat((d.view(torch.uint8), m.view(torch.uint8), packed), dim=-1).flatten(1))


def _divided(x: Tensor, d: Tensor) -> Tensor:
    return torch.where(d == 0, 0.0, x / d)
