"""Linears that an adapter can change: y = gain * (W x + B A x) + bias, the adapter beside the weights.

LoRA has A and B, DoRA also gains, IA3 gains alone, which its bias is multiplied with too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """Rows first_row.. of a linear's product y = W x, without its bias, become gain * (y + b a x)."""

    first_row: int
    a: Tensor
    """(rank, K) float32."""
    b: Tensor
    """(rows, rank) float32, with the adapter's scale multiplied in."""
    gain: Tensor | None
    """(rows,) float32; None: 1."""
    scales_bias: bool = False
    """Whether the rows' bias is multiplied with `gain` too."""

    @classmethod
    def of_gains(cls, first_row: int, gain: Tensor, columns: int) -> "LowRank":
        """Gains (rows,) alone: a rank of 0."""
        rows = gain.shape[0]
        return cls(first_row, torch.empty(0, columns), torch.empty(rows, 0), gain.contiguous(), scales_bias=True)

    def to(self, device: torch.device) -> "LowRank":
        """The same on another device."""
        gain = None if self.gain is None else self.gain.to(device)
        return LowRank(self.first_row, self.a.to(device), self.b.to(device), gain, self.scales_bias)


class AdaptedLinear(nn.Module):
    """x (S, K) -> (S, N) in x's dtype. What multiplies with the weights is said in `product`."""

    def __init__(self, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = self._own_bias = bias
        self.low_rank: Sequence[LowRank] = ()

    def adapt(self, parts: Sequence[LowRank]) -> None:
        """Compute with these from now on; with none of them the base is what it was, bit for bit."""
        self.low_rank = parts
        self.bias = self._own_bias
        for part in parts:
            if self.bias is not None and part.scales_bias and part.gain is not None:
                self.bias = self.bias.clone()
                self.bias[part.first_row : part.first_row + part.gain.shape[0]] *= part.gain.to(self.bias.dtype)

    def product(self, x: Tensor) -> Tensor:
        """W x, in memory of its own."""
        raise NotImplementedError

    def embedding(self) -> nn.Module | None:
        """Its rows as an embedding that is held only once; None where it can't give them."""
        return None

    def adapted(self, y: Tensor, x: Tensor) -> Tensor:
        """y = W x changed in place by the adapter."""
        for part in self.low_rank:
            rows = y[:, part.first_row : part.first_row + part.b.shape[0]]
            if part.a.shape[0]:
                rows += ((x.float() @ part.a.T) @ part.b.T).to(y.dtype)
            if part.gain is not None:
                rows *= part.gain.to(y.dtype)
        return y

    def forward(self, x: Tensor) -> Tensor:
        y = self.adapted(self.product(x), x)
        return y if self.bias is None else y + self.bias


class PlainLinear(AdaptedLinear):
    """Weights (N, K) as they are."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__(bias)
        self.weight = weight

    def product(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight)

    def embedding(self) -> nn.Module:
        return nn.Embedding(self.weight.shape[0], self.weight.shape[1], _weight=self.weight)
