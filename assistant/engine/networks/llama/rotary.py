"""Rotary position embedding as complex rotations, one per position and pair of dimensions.

Hugging Face turns dimension i together with i + D/2. Here the rows of the query and key projections are put in the
order 0, D/2, 1, D/2 + 1, ... when the model is built, so that a pair lies side by side and the whole rotation is one
complex product. Attention doesn't see the order: it is the same for queries and keys.
"""

from typing import Any

import torch
from torch import Tensor

SCALINGS = ("default", "linear", "dynamic", "llama3", "yarn")


class Rotary:
    """Rotations of the positions up to the longest seen, complex64 (T, D/2), computed as they are needed."""

    def __init__(self, config: Any, layer_type: str, head_dim: int, device: "torch.device | None" = None) -> None:
        """Of transformers' configuration, for layers of one type; "" where all have the same."""
        self._config = config
        self._device = device
        self._head_dim = head_dim
        self._of = {"layer_type": layer_type} if layer_type else {}
        self._parameters = config.rope_parameters[layer_type] if layer_type else config.rope_parameters
        self._kind = self._parameters["rope_type"]
        self._frequencies, self._length = self._compute(None)
        self.table = self._rotations(0, 512)

    def upto(self, start: int, end: int) -> Tensor:
        """Rotations of positions start..end, (S, D/2)."""
        if self._kind == "dynamic" and end > self._config.max_position_embeddings:
            self._frequencies, self._length = self._compute(end)
            return self._rotations(start, end)  # and what is cached keeps the frequencies it had, as in transformers
        if end > self.table.shape[0]:
            self.table = self._rotations(0, 2 * end)
        return self.table[start:end]

    def _rotations(self, start: int, end: int) -> Tensor:
        if self._kind == "dynamic" and end <= self._config.max_position_embeddings:
            self._frequencies, self._length = self._compute(None)
        angles = torch.outer(torch.arange(start, end, dtype=torch.float32), self._frequencies)
        return torch.polar(torch.full_like(angles, self._length), angles).to(self._device)

    def _compute(self, seq_len: int | None) -> tuple[Tensor, float]:
        """Frequencies (D/2,) and the factor on the length of what is rotated (yarn's)."""
        if self._kind == "default":
            exponents = torch.arange(0, self._head_dim, 2, dtype=torch.float32) / self._head_dim
            return 1.0 / self._parameters["rope_theta"] ** exponents, 1.0
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # loads 100 MB of modules

        compute = ROPE_INIT_FUNCTIONS[self._kind]
        frequencies, length = compute(self._config, torch.device("cpu"), seq_len=seq_len, **self._of)
        return frequencies.float(), float(length)


def side_by_side(rows: Tensor, head_dim: int) -> Tensor:
    """Rows (H * D, ...) of a query or key projection in the order of this module."""
    return rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:]).transpose(1, 2).flatten(0, 2)
