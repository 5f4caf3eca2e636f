"""Blocks of every kind with random integers: gguf writes only a few of them."""

import torch
from torch import Tensor

from assistant.engine.networks.llama.blocks import KINDS, Blocks

HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "IQ4_NL": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}
"""Where a block has its float16 numbers; everything else may be any byte."""


def random_blocks(kind: str, n: int, k: int, seed: int = 0) -> Blocks:
    """Weights (n, k) of about 1 at the most."""
    generator = torch.Generator().manual_seed(seed)
    weights, size = KINDS[kind]
    blocks = torch.randint(0, 256, (n * k // weights, size), dtype=torch.uint8, generator=generator)
    largest = 1 / {"Q4_0": 8, "Q4_1": 15, "Q5_0": 16, "Q5_1": 31, "Q8_0": 128, "IQ4_NL": 127}.get(kind, 63 * 31)
    for at in HALVES[kind]:
        scales: Tensor = (torch.rand(len(blocks), 1, generator=generator) * 2 - 1) * largest
        blocks[:, at : at + 2] = scales.half().view(torch.uint8)
    return Blocks(kind, blocks.view(n, -1))
