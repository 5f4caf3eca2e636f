"""The entity head: a linear layer over token classes in place of the vocabulary's."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Head(nn.Linear):
    """States (S, C) of any precision -> logits (S, classes) in float32. Initialised to zero: all equally likely."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states.float())


def put_head(model: Any, types: Sequence[str]) -> str:
    """Replace the output head of transformers' `model` by an entity head; returns the module's name."""
    own = model.get_output_embeddings()
    head = Head(own.weight.shape[1], 1 + 2 * len(types)).to(own.weight.device)
    model.config.tie_word_embeddings = False
    model.set_output_embeddings(head)
    (name,) = (str(name) for name, one in model.named_modules() if one is head)
    return name


def likeliest(head: nn.Module, states: Tensor) -> Tensor:
    """Likeliest class (S,) of each token's state (S, C)."""
    return torch.argmax(head(states), dim=-1)
