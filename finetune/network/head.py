"""Hidden states -> log-probabilities of tokens, with the logits of only a few positions in memory.

The gradient of a token's log-probability to its state, (e - softmax) W, is computed in the forward pass, where the
logits are available, and scaled in the backward pass. So logits are neither stored nor computed twice.

An entity head has token classes in place of the vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from finetune.network.kernels import cross_entropy

AT_ONCE = 256
"""Positions whose logits are in memory together: 25 MB of bfloat16 for a vocabulary of 49,152."""


def logprobs(
    head: nn.Linear, states: Tensor, targets: Tensor, weights: Tensor, divisor: float = 1.0, cap: float = 0.0
) -> Tensor:
    """Weighted log-probabilities (S,), float32: the sum over K of `weights` (S, K) times log P(`targets` (S, K)) after
    `states` (S, C).

    With one target of weight 1 that is its log-probability; with several, minus the cross-entropy with a distribution.
    Logits are divided by `divisor`, then soft-capped at `cap` unless it is 0.
    """
    frozen = not head.weight.requires_grad and head.bias is None
    if frozen and not cap and type(head) is nn.Linear:
        found: Tensor = _Frozen.apply(states, head.weight, targets, weights, divisor)  # type: ignore[no-untyped-call]
        return found
    logits = head(states).float() / divisor
    if cap:
        logits = torch.tanh(logits / cap) * cap
    logprobs: Tensor = logits.log_softmax(-1)
    return (weights * logprobs.gather(1, targets)).sum(1)


@torch.no_grad()
def likeliest(
    head: nn.Linear, states: Tensor, count: int, divisor: float = 1.0, cap: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(the `count` likeliest tokens (S, K) after each state, their probabilities (S, K) normalised over K)."""
    found = []
    for begin in range(0, len(states), AT_ONCE):
        logits = head(states[begin : begin + AT_ONCE]).float() / divisor
        if cap:
            logits = torch.tanh(logits / cap) * cap
        top = logits.topk(count, dim=-1)
        found.append((top.indices, top.values.softmax(-1)))
    ids, probabilities = zip(*found, strict=True)
    return torch.cat(ids), torch.cat(probabilities)


@torch.no_grad()
def spread(
    head: nn.Linear, states: Tensor, count: int, divisor: float = 1.0, cap: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(tokens (S, count + 1), probabilities (S, count + 1)) that represent the whole distribution after each state.

    The `count` likeliest tokens (all but one of a smaller vocabulary) keep their probabilities; one token sampled from
    the others gets the remaining mass. So the expected cross-entropy equals that with the whole distribution.
    """
    found = []
    for begin in range(0, len(states), AT_ONCE):
        logits = head(states[begin : begin + AT_ONCE]).float() / divisor
        if cap:
            logits = torch.tanh(logits / cap) * cap
        probabilities = logits.softmax(-1)
        top = probabilities.topk(min(count, probabilities.shape[1] - 1), dim=-1)
        others = probabilities.scatter(1, top.indices, 0.0)
        drawn = torch.multinomial(others + torch.finfo(torch.float32).tiny, 1)
        found.append((torch.cat([top.indices, drawn], 1), torch.cat([top.values, others.sum(1, keepdim=True)], 1)))
    ids, weights = zip(*found, strict=True)
    return torch.cat(ids), torch.cat(weights)


class _Frozen(torch.autograd.Function):
    """The log-probabilities for a head that isn't trained."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, weights: Tensor, divisor: float) -> Tensor:
        found = torch.empty(len(states), device=states.device)
        gradient = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        for begin in range(0, len(states), AT_ONCE):
            piece = slice(begin, begin + AT_ONCE)
            logits = states[piece] @ weight.T
            found[piece] = cross_entropy(logits, targets[piece], weights[piece], divisor, backward=gradient is not None)
            if gradient is not None:
                gradient[piece] = logits @ weight
        ctx.save_for_backward(gradient)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0][:, None].to(gradient.dtype), None, None, None, None


# -- entities -----------------------------------------------------------------------------------------------------


class EntityHead(nn.Linear):
    """States (S, C) of any precision -> logits (S, classes) in float32. Initialised to zero: all equally likely."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states.float())


def put_entity_head(model: Any, types: Sequence[str]) -> str:
    """Replace the output head of transformers' `model` by an entity head; returns the module's name."""
    own = model.get_output_embeddings()
    head = EntityHead(own.weight.shape[1], 1 + 2 * len(types)).to(own.weight.device)
    model.config.tie_word_embeddings = False
    model.set_output_embeddings(head)
    (name,) = (str(name) for name, one in model.named_modules() if one is head)
    return name


def token_classes(head: nn.Module, states: Tensor) -> Tensor:
    """Likeliest class (S,) of each token's state (S, C)."""
    return torch.argmax(head(states), dim=-1)
