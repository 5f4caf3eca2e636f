"""Training losses of each kind of dataset, from the log-probabilities of supervised tokens.

An item is a group of rows that an objective compares, in the order of `Batch.items`. A loss is returned as a sum, and
its divisor separately, so that it is normalised over a whole step, however that is cut into batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from finetune.config import TrainConfig
from finetune.data.lessons import Lessons
from finetune.data.pack import Block, grouped
from finetune.data.tokens import Row
from finetune.network.batch import Batch, batch
from prompts.labels import forms


class Objective(Protocol):
    """A training objective over items of rows."""

    items: Sequence[Sequence[Row]]

    def loss(self, batch: Batch, logprobs: Tensor) -> Tensor:
        """Sum of the losses (scalar, float32) of a batch, from its log-probabilities (S,)."""

    def count(self, block: Block) -> int:
        """A block's share of the divisor of the loss."""


@dataclass
class Supervised:
    """Cross-entropy of replies, in nats for each supervised token."""

    items: Sequence[Sequence[Row]]

    def loss(self, batch: Batch, logprobs: Tensor) -> Tensor:  # noqa: ARG002
        return -logprobs.sum()

    def count(self, block: Block) -> int:
        return block.supervised


@dataclass
class Preference:
    """DPO (https://arxiv.org/abs/2305.18290). An item: rows of the chosen and the rejected reply."""

    items: Sequence[Sequence[Row]]
    reference: Sequence[Sequence[float]]
    """Log-probability of each item's rows under the base."""
    beta: float

    def loss(self, batch: Batch, logprobs: Tensor) -> Tensor:
        margins = row_sums(batch, logprobs) - _references(self.reference, batch, logprobs)
        chosen, rejected = margins.reshape(-1, 2).unbind(1)
        return -logsigmoid(self.beta * (chosen - rejected)).sum()

    def count(self, block: Block) -> int:
        return len(block.items)


@dataclass
class Thumbs:
    """KTO (https://arxiv.org/abs/2402.01306). An item: rows of the rated reply, and of another question's reply to the
    same prompt, by which the divergence from the base is estimated over the batch, without gradient.
    """

    items: Sequence[Sequence[Row]]
    reference: Sequence[Sequence[float]]
    good: Sequence[bool]
    beta: float
    good_weight: float = 1.0
    bad_weight: float = 1.0

    def loss(self, batch: Batch, logprobs: Tensor) -> Tensor:
        margins = row_sums(batch, logprobs) - _references(self.reference, batch, logprobs)
        judged, strange = margins.reshape(-1, 2).unbind(1)
        if not len(judged):
            return logprobs.sum()
        divergence = strange.detach().mean().clamp(min=0)
        good = torch.tensor([self.good[item] for item in batch.items], device=judged.device)
        sign = torch.where(good, 1.0, -1.0)
        weight = torch.where(good, self.good_weight, self.bad_weight)
        return (weight * (1 - torch.sigmoid(self.beta * sign * (judged - divergence)))).sum()

    def count(self, block: Block) -> int:
        return len(block.items)


@dataclass
class Classes:
    """Cross-entropy over classes, scored as in `prompts.labels.class_scores`.

    An item: a row for each form of each class's words, the right class first.
    """

    items: Sequence[Sequence[Row]]
    forms: Sequence[Sequence[int]]
    """Number of rows of each class, for each item."""

    def loss(self, batch: Batch, logprobs: Tensor) -> Tensor:
        lengths = row_sums(batch, torch.ones_like(logprobs)).clamp(min=1)
        means = row_sums(batch, logprobs) / lengths
        total, begin = logprobs.sum() * 0, 0
        for item in batch.items:
            scores = []
            for count in self.forms[item]:
                scores.append(torch.logsumexp(means[begin : begin + count], 0) - torch.tensor(float(count)).log())
                begin += count
            total = total - log_softmax(torch.stack(scores), 0)[0]
        return total

    def count(self, block: Block) -> int:
        return len(block.items)


def row_sums(batch: Batch, values: Tensor) -> Tensor:
    """(R,): the sum of values (S,) over each row's supervised tokens."""
    return values.new_zeros(len(batch.rows)).index_add(0, batch.owners, values)


def _references(known: Sequence[Sequence[float]], batch: Batch, like: Tensor) -> Tensor:
    flat = [value for item in batch.items for value in known[item]]
    return torch.tensor(flat, dtype=like.dtype, device=like.device)


@torch.no_grad()
def streamed(trainee: torch.nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
    """Batches with their log-probabilities (S,), without gradient and dropout."""
    was_training = trainee.training
    trainee.eval()
    try:
        for one in batches:
            yield one, trainee(one)
    finally:
        trainee.train(was_training)


def item_sums(
    trainee: torch.nn.Module,
    items: Sequence[Sequence[Row]],
    blocks: Iterable[Block],
    tokens_at_once: int,
    device: torch.device,
) -> list[list[float]]:
    """Log-probability of the supervised tokens of each row of each item."""
    found = [[0.0] * len(rows) for rows in items]
    some = (batch(one).to(device) for one in grouped(blocks, tokens_at_once))
    for one, logprobs in streamed(trainee, some):
        for (item, number), total in zip(one.rows, row_sums(one, logprobs.double()).tolist(), strict=True):
            found[item][number] = total
    return found


def objective(lessons: Lessons, reference: Sequence[Sequence[float]], config: TrainConfig) -> Objective:
    """The objective for the lessons. `reference`: log-probabilities of each item's rows under the base, for objectives
    that compare with it.
    """
    match lessons.objective:
        case "dpo":
            return Preference(lessons.items, reference, config.beta)
        case "kto":
            return Thumbs(lessons.items, reference, [one.good for one in lessons.examples], config.beta)
        case "label":
            return Classes(lessons.items, [[len(forms(words)) for words in one.choices] for one in lessons.examples])
    return Supervised(lessons.items)
