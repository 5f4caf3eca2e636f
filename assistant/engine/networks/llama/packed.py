"""Linears whose weights stay in blocks of 4 or 8 bits, in torch alone: for a GPU, or a machine without a compiler.

`aten::_weight_int4pack_mm_for_cpu` is fast only with bfloat16 activations, scales and results (its float32 form is a
scalar loop: 504 µs where bfloat16 takes 21), so here a GGUF's float16 scales are rounded once more, by at most 2^-9.
`native.NativeLinear` keeps them. A Q8_0 matrix becomes two of 4 bits beside one another, 16 * high + low, exact.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.engine.networks.llama.blocks import GROUP, Blocks, Stack, flat
from assistant.engine.networks.llama.low_rank import AdaptedLinear

UNPACKED_WEIGHTS = 1 << 24
"""Weights that `BlockLinear` dequantises at once."""


class Int4Linear(AdaptedLinear):
    """Weights in blocks, by the packed 4-bit product. N must be a multiple of `ROWS`."""

    ROWS = 16

    def __init__(self, weight: Blocks | Stack, bias: Tensor | None = None) -> None:
        super().__init__(bias)
        q, d, m = flat(weight).planes()
        self.doubled = m is None
        if m is None:  # 8 bits: low nibble less 8, and high nibble
            scales = torch.cat((d.float(), d.float() * 16), dim=1)
            zeros = torch.cat((d.float() * 8, torch.zeros_like(d.float())), dim=1)
            nibbles = torch.cat((q & 15, (q >> 4) + 8), dim=1)
        else:
            scales, nibbles = d.float(), q
            zeros = m.float() + 8 * scales  # the product takes 8 from each nibble
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(nibbles.int(), 1)
        self.packed = packed
        self.scales = torch.stack((scales, zeros), dim=-1).transpose(0, 1).bfloat16().contiguous()  # [K / 32, N, 2]

    def product(self, x: Tensor) -> Tensor:
        narrow = x.to(torch.bfloat16)
        if self.doubled:
            narrow = torch.cat((narrow, narrow), dim=1)
        y: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(narrow, self.packed, GROUP, self.scales)
        return y.to(x.dtype)


class BlockLinear(AdaptedLinear):
    """Weights in blocks that are dequantised for each product, on any device: memory is saved by it, not time."""

    def __init__(self, weight: Blocks | Stack, bias: Tensor | None = None) -> None:
        super().__init__(bias)
        self.blocks = flat(weight)

    def product(self, x: Tensor) -> Tensor:
        step = max(1, UNPACKED_WEIGHTS // x.shape[1])
        parts = (Blocks(self.blocks.kind, rows) for rows in torch.split(self.blocks.rows, step))
        return torch.cat([F.linear(x, part.dequantise().to(x.dtype)) for part in parts], dim=1)


class BlockEmbedding(nn.Module):
    """An embedding whose rows stay in blocks."""

    def __init__(self, blocks: Blocks, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.blocks = blocks
        self.num_embeddings = blocks.shape[0]
        self.dtype = dtype

    def forward(self, ids: Tensor) -> Tensor:
        """ids (S,) -> (S, C) in `dtype`."""
        return Blocks(self.blocks.kind, F.embedding(ids, self.blocks.rows)).dequantise().to(self.dtype)
