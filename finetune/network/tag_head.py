"""A linear head over the classes of tokens, in place of the one over the vocabulary."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Head(nn.Linear):
    """States (S, width) of any precision -> logits (S, classes) in float32; nothing is likelier at first."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states.float())


def put_head(model: Any, types: Sequence[str]) -> str:
    """Give transformers' `model` a head for entities in place of its own; the name of that module."""
    own = model.get_output_embeddings()
    head = Head(own.weight.shape[1], 1 + 2 * len(types)).to(own.weight.device)
    model.config.tie_word_embeddings = False
    model.set_output_embeddings(head)
    (name,) = (str(name) for name, one in model.named_modules() if one is head)
    return name


def likeliest(head: nn.Module, states: Tensor) -> Tensor:
    """The class (S,) of each token's state (S, width)."""
    return torch.argmax(head(states), dim=-1)
