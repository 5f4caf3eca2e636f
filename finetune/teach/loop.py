"""Corrections and anchors -> gradient steps, until the corrections are said and the anchors hold.

The loss adds up four means over tokens, so that each counts by itself, however many tokens there are of it: the
cross-entropy of new corrections and of those before, and how far (Kullback-Leibler) the model has gone from what it
was, in replies to other questions and in general text.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from assistant.errors import TrainingError
from finetune.data import pack
from finetune.data.pack import Block
from finetune.network import trainable
from finetune.network.batch import batch
from finetune.network.trainee import Trainee
from finetune.plan import BLOCK_TOKENS
from finetune.progress import Progress, Stepped
from finetune.teach.material import Material, Step
from finetune.train import memory


@dataclass(frozen=True, slots=True)
class Pace:
    """How corrections are trained."""

    learning_rate: float = 1e-3
    warmup: int = 4
    """Steps in which the learning rate rises."""
    steps: int = 20
    """Most steps for each round of the corrections."""
    hold: float = 30.0
    """Weight of the replies that are held."""
    hold_text: float = 20.0
    """Weight of the general text that is held."""
    enough_nats: float = 0.05
    """A correction is learned where its tokens' mean loss is lower, in all forms of a step."""
    held_nats: float = 0.02
    """Replies are held where their tokens' mean loss has risen by less."""
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
    parameters = list(trainable.trained(trainee.model).values())
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
        found = _gradients(trainee, material.step(number), pace, device)
        loss = found.new
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, pace.clip))
        if not math.isfinite(norm):
            raise TrainingError(f"The gradient of step {number + 1} is no number. Nothing was changed.")
        optimizer.step()
        optimizer.zero_grad()
        took_s, left_s = time.monotonic() - step_s, (time.monotonic() - began_s) / (number + 1) * (steps - number - 1)
        rate = optimizer.param_groups[0]["lr"]
        speed = found.tokens / took_s, found.supervised / took_s
        say(Stepped(number + 1, steps, loss, rate, norm, *speed, memory.peak_bytes(device), left_s))
        enough = enough + 1 if found.worst < pace.enough_nats and found.held < pace.held_nats else 0
        if enough > material.rounds:
            break
    trainee.eval()
    return Learned(number + 1, time.monotonic() - began_s, loss)


def _rate(pace: Pace, step: int, steps: int) -> float:
    rising = min(1.0, (step + 1) / pace.warmup)
    return pace.learning_rate * rising * (1 - 0.9 * step / steps)


@dataclass(frozen=True, slots=True)
class _Losses:
    """Of one step, in nats a token; `held` and `text` over what they were. `worst`: of the new row with the highest."""

    new: float
    old: float
    held: float
    text: float
    worst: float
    tokens: int
    supervised: int


def _gradients(trainee: Trainee, step: Step, pace: Pace, device: torch.device) -> _Losses:
    """Add up the gradients of a step."""
    anchors = [*step.held, *step.text]
    parts = (step.new, step.old, [one.row for one in step.held], [one.row for one in step.text])
    rows = [row for part in parts for row in part]
    supervised = [sum(row.supervised for row in part) for part in parts]
    scales = (1.0, 1.0, pace.hold, pace.hold_text)
    weights = torch.tensor(
        [scale / max(1, count) for scale, count, part in zip(scales, supervised, parts, strict=True) for _ in part]
    )
    floors = [0.0] * (len(rows) - len(anchors)) + [one.floor for one in anchors]
    sums, tokens = -torch.tensor(floors), 0
    items = [[row] for row in rows]
    for some in pack.grouped(pack.pack(items, BLOCK_TOKENS, "step"), 2 * BLOCK_TOKENS):
        logprobs, owners = _logprobs(trainee, some, device)
        (-(logprobs * weights.to(device)[owners]).sum()).backward()
        sums.index_add_(0, owners.cpu(), -logprobs.detach().cpu())
        tokens += sum(block.tokens for block in some)
    if not bool(torch.isfinite(sums).all()):
        raise TrainingError("The loss of a correction is no number. Nothing was changed: teach fewer at once.")
    each = torch.split(sums, [len(part) for part in parts])
    new, old, held, text = (float(one.sum()) / max(1, count) for one, count in zip(each, supervised, strict=True))
    worst = each[0] / torch.tensor([row.supervised for row in step.new])
    return _Losses(new, old, held, text, float(worst.max()), tokens, sum(supervised))


def _logprobs(trainee: Trainee, blocks: list[Block], device: torch.device) -> tuple[Any, torch.Tensor]:
    """(log-probability of each supervised token, the item it belongs to)."""
    one = batch(blocks).to(device)
    items = torch.tensor([item for item, _ in one.rows], device=device)
    return trainee(one), items[one.owners]
