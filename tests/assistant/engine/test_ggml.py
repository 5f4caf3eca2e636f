"""Unpacked blocks have the same bits as those of the reference, `gguf.dequantize`."""

import gguf
import numpy as np
import pytest
import torch

from assistant.engine.formats import ggml

BLOCK_TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]


def random_blocks(kind: str, rows: int, weights: int) -> np.ndarray:
    """Rows of arbitrary bytes: every pattern of scales and quants, NaN and infinite scales too."""
    size, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    return np.random.default_rng(7).integers(0, 256, (rows, weights // size * block_bytes), dtype=np.uint8)


@pytest.mark.parametrize("kind", BLOCK_TYPES)
@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")
def test_same_bits_as_the_reference(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml, "CHUNK_WEIGHTS", 3 * 512)
    raw = random_blocks(kind, 64, 512)
    expected = gguf.dequantize(raw, gguf.GGMLQuantizationType[kind])
    seen = ggml.dequantise(torch.from_numpy(raw), kind, [64, 512], torch.float32).numpy()
    finite = np.isfinite(expected)
    assert finite.mean() > 0.5
    assert np.array_equal(finite, np.isfinite(seen))
    assert np.array_equal(expected[finite].view(np.uint32), seen[finite].view(np.uint32))


@pytest.mark.parametrize(("kind", "dtype"), [("F32", torch.float32), ("F16", torch.float16), ("BF16", torch.bfloat16)])
def test_plain_floats_are_taken_as_they_are(kind: str, dtype: torch.dtype) -> None:
    weights = torch.randn(4, 8).to(dtype)
    raw = weights.view(torch.uint8).reshape(4, -1)
    assert torch.equal(ggml.dequantise(raw, kind, [4, 8], torch.float32), weights.float())
