"""Corrections and anchors -> gradient steps, until the corrections are said or the steps are used up.

The loss is the mean cross-entropy of the corrections' tokens and, `hold` times, that of the anchors with the model as
it was. Each mean counts by itself, however many tokens there are of each.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from assistant.errors import TrainingError
from finetune import adapters, memory, pack
from finetune.batch import batch
from finetune.model import Trainee
from finetune.pack import Block
from finetune.plan import BLOCK_TOKENS
from finetune.progress import Progress, Stepped
from finetune.teach.material import Material
from finetune.tokens import Row


@dataclass(frozen=True, slots=True)
class Pace:
    """How corrections are trained."""

    learning_rate: float = 1e-3
    warmup: int = 3
    """Steps in which the learning rate rises."""
    steps: int = 24
    """Most steps for each round of the corrections."""
    hold: float = 1.0
    """Weight of the anchors."""
    enough_nats: float = 0.05
    """A correction is learned where its tokens' mean loss is lower, in all forms of a step."""
    clip: float = 1.0


@dataclass(frozen=True, slots=True)
class Learned:
    """`loss`: of the corrections, in nats a token, in the last step."""

    steps: int
    seconds: float
    loss: float


def learn(
    trainee: Trainee,
    material: Material,
    pace: Pace,
    device: torch.device,
    say: Callable[[Progress], None],
    stop_wanted: Callable[[], bool],
) -> Learned | None:
    """Train what requires gradients; None where it was stopped. Raises `TrainingError` for a loss that is no number."""
    parameters = list(adapters.trained(trainee.model).values())
    optimizer = torch.optim.AdamW(parameters, lr=pace.learning_rate, weight_decay=0.0)
    steps, enough, began_s = pace.steps * material.rounds, 0, time.monotonic()
    trainee.train()
    loss = math.inf
    for number in range(steps):
        if stop_wanted():
            return None
        for group in optimizer.param_groups:
            group["lr"] = _rate(pace, number, steps)
        step_s = time.monotonic()
        loss, worst, tokens, supervised = _gradients(trainee, *material.step(number), pace.hold, device)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, pace.clip))
        if not math.isfinite(norm):
            raise TrainingError(f"The gradient of step {number + 1} is no number. Nothing was changed.")
        optimizer.step()
        optimizer.zero_grad()
        took_s, left_s = time.monotonic() - step_s, (time.monotonic() - began_s) / (number + 1) * (steps - number - 1)
        rate = optimizer.param_groups[0]["lr"]
        speed = tokens / took_s, supervised / took_s
        say(Stepped(number + 1, steps, loss, rate, norm, *speed, memory.peak_bytes(device), left_s))
        enough = enough + 1 if worst < pace.enough_nats else 0
        if enough > material.rounds:
            break
    trainee.eval()
    return Learned(number + 1, time.monotonic() - began_s, loss)


def _rate(pace: Pace, step: int, steps: int) -> float:
    rising = min(1.0, (step + 1) / pace.warmup)
    return pace.learning_rate * rising * (1 - 0.9 * step / steps)


def _gradients(
    trainee: Trainee, taught: list[Row], anchors: list[Row], hold: float, device: torch.device
) -> tuple[float, float, int, int]:
    """Add up gradients; (the corrections' mean loss, that of the worst row, tokens, supervised tokens)."""
    items = [[row] for row in [*taught, *anchors]]
    tokens_taught, tokens_held = (sum(row.supervised for row in some) for some in (taught, anchors))
    weights = torch.tensor([1 / tokens_taught] * len(taught) + [hold / max(1, tokens_held)] * len(anchors))
    sums, tokens = torch.zeros(len(items)), 0
    for some in pack.grouped(pack.pack(items, BLOCK_TOKENS, "step"), 2 * BLOCK_TOKENS):
        logprobs, owners = _logprobs(trainee, some, device)
        loss = -(logprobs * weights.to(device)[owners]).sum()
        loss.backward()
        sums.index_add_(0, owners.cpu(), -logprobs.detach().cpu())
        tokens += sum(block.tokens for block in some)
    if not bool(torch.isfinite(sums).all()):
        raise TrainingError("The loss of a correction is no number. Nothing was changed: teach fewer at once.")
    means = sums[: len(taught)] / torch.tensor([row.supervised for row in taught])
    mean = float(sums[: len(taught)].sum()) / tokens_taught
    return mean, float(means.max()), tokens, tokens_taught + tokens_held


def _logprobs(trainee: Trainee, blocks: list[Block], device: torch.device) -> tuple[Any, torch.Tensor]:
    """(log-probability of each supervised token, the item it belongs to)."""
    one = batch(blocks).to(device)
    items = torch.tensor([item for item, _ in one.rows], device=device)
    return trainee(one), items[one.owners]
