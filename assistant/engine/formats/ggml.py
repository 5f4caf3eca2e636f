"""Blocks of quantised weights -> tensors, in torch. Same bits as `gguf.dequantize`, several times faster.

A row of a GGUF tensor is cut into blocks of 32 or 256 weights; a block holds small integers and the scales that make
floats of them. Layouts: ggml-quants.c of https://github.com/ggml-org/ggml. Types without a function here go through
`gguf.dequantize` itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK_WEIGHTS = 1 << 18
"""Weights unpacked at once: 1 MB of float32 stays in the processor's cache, which is twice as fast as 64 MB."""


def dequantise(raw: Tensor, kind: str, shape: list[int], dtype: torch.dtype) -> Tensor:
    """The weights (shape) in `dtype`, from their blocks `raw` (rows, bytes) uint8 of the ggml type `kind`."""
    plain = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}.get(kind)
    if plain is not None:
        return raw.view(plain).reshape(shape).to(dtype)
    raw = raw.reshape(-1, raw.shape[-1])
    weights = torch.empty(raw.shape[0], shape[-1], dtype=dtype, device=raw.device)
    step = max(1, CHUNK_WEIGHTS // shape[-1] if raw.device.type == "cpu" else raw.shape[0])
    for start in range(0, raw.shape[0], step):
        rows = raw[start : start + step]
        weights[start : start + step] = _rows(rows, kind).reshape(rows.shape[0], shape[-1])
    return weights.reshape(shape)


def _rows(rows: Tensor, kind: str) -> Tensor:
    import gguf

    if kind in _UNPACK:
        unpack, block_bytes = _UNPACK[kind]
        return unpack(rows.reshape(-1, block_bytes))
    return torch.from_numpy(gguf.dequantize(rows.numpy(), gguf.GGMLQuantizationType[kind]))


def _half(blocks: Tensor, at: int) -> Tensor:
    """The 16-bit float at byte `at` of each block, as float32 (B, 1)."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor, width: int) -> Tensor:
    """Low then high halves of each run of `width` bytes: (B, n) -> (B, 2 n)."""
    return _bits(packed, 4, width)


def _bits(packed: Tensor, each: int, width: int) -> Tensor:
    """Fields of `each` bits, lowest first, of each run of `width` bytes: (B, n) -> (B, n * 8 / each).

    Four bytes are shifted and masked at once, as one word.
    """
    runs = _words(packed).reshape(packed.shape[0], -1, 1, width // 4)
    mask = ((1 << each) - 1) * 0x01010101
    fields = [(runs >> shift) & mask for shift in range(0, 8, each)]
    return torch.cat(fields, dim=2).view(torch.uint8).flatten(1)


def _words(packed: Tensor) -> Tensor:
    """Four bytes each, of runs (B, n). Copied: a run may begin anywhere; `contiguous` leaves that of a single block."""
    return packed.clone(memory_format=torch.contiguous_format).view(torch.int32)


def _signed(scales: Tensor) -> Tensor:
    return scales.contiguous().view(torch.int8).float()


def _q4_0(b: Tensor) -> Tensor:
    return (_nibbles(b[:, 2:], 16).float() - 8).mul_(_half(b, 0))


def _q4_1(b: Tensor) -> Tensor:
    return _nibbles(b[:, 4:], 16).float().mul_(_half(b, 0)).add_(_half(b, 2))


def _fifth_bits(b: Tensor) -> Tensor:
    """Bit i of a 32-bit word belongs to weight i: (B, 4) -> (B, 32), worth 16 each."""
    shifts = torch.arange(32, dtype=torch.int32, device=b.device)
    return ((_words(b) >> shifts) & 1).to(torch.uint8) << 4


def _q5_0(b: Tensor) -> Tensor:
    return _half(b, 0) * ((_nibbles(b[:, 6:], 16) | _fifth_bits(b[:, 2:6])).float() - 16)


def _q5_1(b: Tensor) -> Tensor:
    return _half(b, 0) * (_nibbles(b[:, 8:], 16) | _fifth_bits(b[:, 4:8])).float() + _half(b, 2)


_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def _iq4_nl(b: Tensor) -> Tensor:
    values = torch.tensor(_IQ4, dtype=torch.float32, device=b.device)
    return values[_nibbles(b[:, 2:], 16).int()].mul_(_half(b, 0))


def _q8_0(b: Tensor) -> Tensor:
    return _signed(b[:, 2:]).mul_(_half(b, 0))


def _scales_and_minima(b: Tensor) -> tuple[Tensor, Tensor]:
    """Eight 6-bit scales and eight 6-bit minima from 12 bytes: (B, 12) -> (B, 8, 1) twice."""
    d, m, high = b[:, :4], b[:, 4:8], b[:, 8:]
    scales = torch.cat((d & 63, (high & 15) | ((d >> 2) & 48)), dim=1)
    minima = torch.cat((m & 63, (high >> 4) | ((m >> 2) & 48)), dim=1)
    return scales.float(), minima.float()


def _grouped(quants: Tensor, scale: Tensor, minimum: Tensor) -> Tensor:
    """quants (B, 256) * scale (B, groups) - minimum (B, groups), group by group."""
    groups = quants.float().reshape(*scale.shape, -1)
    return (scale.unsqueeze(2) * groups - minimum.unsqueeze(2)).flatten(1)


def _q4_k(b: Tensor) -> Tensor:
    scales, minima = _scales_and_minima(b[:, 4:16])
    return _grouped(_nibbles(b[:, 16:], 32), _half(b, 0) * scales, _half(b, 2) * minima)


def _q5_k(b: Tensor) -> Tensor:
    scales, minima = _scales_and_minima(b[:, 4:16])
    quants = _nibbles(b[:, 48:], 32) | _bits(b[:, 16:48], 1, 32) << 4
    return _grouped(quants, _half(b, 0) * scales, _half(b, 2) * minima)


def _q6_k(b: Tensor) -> Tensor:
    quants = (_nibbles(b[:, :128], 64) | _bits(b[:, 128:192], 2, 32) << 4).float() - 32
    scales = _half(b, 208) * _signed(b[:, 192:208])
    return (scales.unsqueeze(2) * quants.reshape(-1, 16, 16)).flatten(1)


def _q2_k(b: Tensor) -> Tensor:
    scales, minima = (b[:, :16] & 15).float(), (b[:, :16] >> 4).float()
    return _grouped(_bits(b[:, 16:80], 2, 32), _half(b, 80) * scales, _half(b, 82) * minima)


def _q3_k(b: Tensor) -> Tensor:
    low = torch.cat((b[:, 96:104] & 15, b[:, 96:104] >> 4), dim=1)
    scales = (low | _bits(b[:, 104:108], 2, 4) << 4).float() - 32
    quants = _bits(b[:, 32:96], 2, 32).float() - ((_bits(b[:, :32], 1, 32) ^ 1) << 2).float()
    return ((_half(b, 108) * scales).unsqueeze(2) * quants.reshape(-1, 16, 16)).flatten(1)


_UNPACK: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "Q4_0": (_q4_0, 18),
    "Q4_1": (_q4_1, 20),
    "Q5_0": (_q5_0, 22),
    "Q5_1": (_q5_1, 24),
    "Q8_0": (_q8_0, 34),
    "IQ4_NL": (_iq4_nl, 18),
    "Q2_K": (_q2_k, 84),
    "Q3_K": (_q3_k, 110),
    "Q4_K": (_q4_k, 144),
    "Q5_K": (_q5_k, 176),
    "Q6_K": (_q6_k, 210),
}
"""ggml type -> (function of blocks (B, bytes) to weights (B, 32 or 256), bytes of a block)."""
