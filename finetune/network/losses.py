"""Log-probabilities of supervised tokens -> what is minimised, for each kind of dataset.

Each objective knows its items: the rows that belong together, in the order that `items` of a batch tells. A loss comes
as a sum and what it is divided by, so that it is normalised over a whole step, however that is cut into batches.
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
    """What is learned from items of rows."""

    items: Sequence[Sequence[Row]]

    def loss(self, batch: Batch, logprobs: Tensor) -> Tensor:
        """The sum (scalar, float32) over what `count` counts, of a batch's log-probabilities (S,)."""

    def count(self, block: Block) -> int:
        """What a block's part of the sum is divided by."""


@dataclass
class Supervised:
    """Cross-entropy of replies: nats for each supervised token."""

    items: Sequence[Sequence[Row]]

    def loss(self, batch: Batch, logprobs: Tensor) -> Tensor:  # noqa: ARG002
        return -logprobs.sum()

    def count(self, block: Block) -> int:
        return block.supervised


@dataclass
class Preference:
    """DPO (https://arxiv.org/abs/2305.18290). An item: the chosen and the rejected reply."""

    items: Sequence[Sequence[Row]]
    reference: Sequence[Sequence[float]]
    """Of each item's rows, the log-probability under the base."""
    beta: float

    def loss(self, batch: Batch, logprobs: Tensor) -> Tensor:
        margins = row_sums(batch, logprobs) - _references(self.reference, batch, logprobs)
        chosen, rejected = margins.reshape(-1, 2).unbind(1)
        return -logsigmoid(self.beta * (chosen - rejected)).sum()

    def count(self, block: Block) -> int:
        return len(block.items)


@dataclass
class Thumbs:
    """KTO (https://arxiv.org/abs/2402.01306). An item: the judged reply, and another question's reply to its prompt, by
    which the divergence from the base is estimated over the batch, without gradient.
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
    """Cross-entropy over the classes of a verbalizer, scored as `prompts.labels.class_scores` does.

    An item: a row for every form of every class's words, the right class first.
    """

    items: Sequence[Sequence[Row]]
    forms: Sequence[Sequence[int]]
    """Of each item, how many rows each class has."""

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
    """(R,): the sum of the values (S,) of each row's supervised tokens."""
    return values.new_zeros(len(batch.rows)).index_add(0, batch.owners, values)


def _references(known: Sequence[Sequence[float]], batch: Batch, like: Tensor) -> Tensor:
    flat = [value for item in batch.items for value in known[item]]
    return torch.tensor(flat, dtype=like.dtype, device=like.device)


@torch.no_grad()
def streamed(trainee: torch.nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
    """Batch after batch with its log-probabilities (S,), without gradient and without dropout."""
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
    """Of each item's rows, the log-probability of its supervised tokens together."""
    found = [[0.0] * len(rows) for rows in items]
    some = (batch(one).to(device) for one in grouped(blocks, tokens_at_once))
    for one, logprobs in streamed(trainee, some):
        for (item, number), total in zip(one.rows, row_sums(one, logprobs.double()).tolist(), strict=True):
            found[item][number] = total
    return found


def objective(lessons: Lessons, reference: Sequence[Sequence[float]], config: TrainConfig) -> Objective:
    """What is minimised over the lessons. `reference`: of each item's rows the log-probability under the base,
    where the objective compares with it.
    """
    match lessons.objective:
        case "dpo":
            return Preference(lessons.items, reference, config.beta)
        case "kto":
            return Thumbs(lessons.items, reference, [one.good for one in lessons.examples], config.beta)
        case "label":
            return Classes(lessons.items, [[len(forms(words)) for words in one.choices] for one in lessons.examples])
    return Supervised(lessons.items)
