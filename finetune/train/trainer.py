"""The training loop, with checkpoints from which a killed run resumes bitwise.

No random state is carried between steps: each step has its own seed, and the order of each epoch follows from the run's
seed. So a checkpoint is the trained parameters, the optimiser's state and the step.
"""

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from accelerate import Accelerator

from assistant.errors import TrainingError, TrainingRefused
from finetune import plan
from finetune.config import TrainConfig
from finetune.data.lessons import Lessons
from finetune.data.pack import Block, grouped
from finetune.network import trainable
from finetune.network.batch import Batch, batch
from finetune.network.losses import Objective, streamed
from finetune.network.trainee import Trainee
from finetune.plan import Measured, Shape
from finetune.progress import Paused, Progress, Stepped, Validated
from finetune.run_folder import PAUSE, STOP, RunFolder
from finetune.train import checkpoint, memory, processes
from finetune.train.checkpoint import Checkpoint

T = TypeVar("T")

MOST_MEASURED, MEASURED_S = 3, 2.0
"""Most batches computed to measure the speed, and for how many seconds."""
SAVE_EVERY_S = 120.0
"""Seconds between checkpoints: the most work that a kill can lose, plus one step."""
PAUSE_LOOK_S = 0.2


@dataclass
class TrainerState:
    """Progress of a training; stored in each checkpoint."""

    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    looks_without_better: int = 0
    seconds: float = 0.0


@dataclass
class Trainer:
    """One run, from its last checkpoint to the end or a stop."""

    accelerator: Accelerator
    model: Any
    """A transformers or PEFT model, as `trainable.prepare` returns it."""
    config: TrainConfig
    shape: Shape
    lessons: Lessons
    objective: Objective
    validation: Lessons
    validation_objective: Objective
    folder: RunFolder
    say: Callable[[Progress], None] = lambda _: None
    stop_wanted: Callable[[], bool] = lambda: False
    standing: TrainerState = field(default_factory=TrainerState)

    def __post_init__(self) -> None:
        trainee = Trainee(self.model)
        if self.config.checkpointing:
            trainee.recompute_activations()
        self._parameters = trainable.trained(self.model)
        self.optimizer = _optimizer(list(self._parameters.values()), self.config)
        self.trainee, self.optimizer = self.accelerator.prepare(trainee, self.optimizer)
        self.set_schedule()
        self._recent_s: deque[float] = deque(maxlen=20)
        self._saved_s = time.monotonic()

    def set_schedule(self) -> None:
        """Set the learning-rate schedule for the planned number of steps."""
        self._rate = _schedule(self.optimizer, self.config, self.shape.steps)

    def measure(self) -> Measured:
        """Measure the speed with one batch; changes no weights. Reduces the batch size if memory runs out."""
        blocks = next(plan.steps_of_blocks(self.lessons, self.shape, self.config.seed, 0))
        some = next(grouped(blocks, self.shape.tokens_at_once))
        self._accumulated(some[: self.accelerator.num_processes])  # warm-up of the kernels

        def timed() -> float:
            began_s = time.perf_counter()
            self._accumulated(some)
            return time.perf_counter() - began_s

        took = [timed()]
        more = processes.from_main(lambda: min(MOST_MEASURED - 1, int(MEASURED_S / took[0])))
        took += [timed() for _ in range(more)]  # equally often in every process, as they wait for one another
        self.optimizer.zero_grad()
        tokens = sum(block.tokens for block in some)
        return Measured(tokens / min(took), sum(block.supervised for block in some) / max(1, tokens))

    def resume(self) -> None:
        """Restore the last readable checkpoint, if there is one."""
        found = checkpoint.latest(self.folder.checkpoints)
        if found is None:
            return
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(found.parameters[name])
        checkpoint.set_optimizer_state(self.optimizer, found.optimizer)
        trainable.set_allocation(self.model, found.parameters)
        self.standing = TrainerState(**found.figures["standing"])

    def train(self) -> str:
        """Train; returns the reason for the end: `finished`, `stopped`, `early` or `budget`. Raises `TrainingError` for
        a loss or gradient that isn't finite.
        """
        self.trainee.train()
        steps = plan.steps_of_blocks(self.lessons, self.shape, self.config.seed, self.standing.step)
        if self.standing.step == 0:
            self.save()
        while self.standing.step < self.shape.steps:
            if self._is_stopped():
                self.save()
                return "stopped"
            self._step(next(steps))
            if self.standing.step % self.shape.validate_every == 0 or self.standing.step == self.shape.steps:
                if self._validate():
                    self.save()
                    return "early"
            elif time.monotonic() - self._saved_s > SAVE_EVERY_S:
                self.save()
            if 0 < 60 * self.config.budget_minutes < self.standing.seconds:
                self.save()
                return "budget"
        return "finished"

    def save(self) -> None:
        """Write a checkpoint."""
        if self.accelerator.is_main_process:
            tensors = {**self._parameters, **trainable.allocation(self.model)}
            state = Checkpoint(
                self.standing.step,
                tensors,
                checkpoint.optimizer_state(self.optimizer),
                {"standing": self.standing.__dict__},
            )
            checkpoint.save(self.folder.checkpoints, state)
        self._saved_s = time.monotonic()

    def _step(self, blocks: list[Block]) -> None:
        began_s = time.monotonic()
        loss, tokens = self._accumulated(blocks)
        norm = self._clipped()
        if not math.isfinite(norm):
            raise TrainingError(
                f"The gradient of step {self.standing.step + 1} is not a finite number, and the step was not applied. "
                f"Resume from the last checkpoint with a lower learning rate, or check {self._named(blocks)}."
            )
        rate = self.config.learning_rate * self._rate(self.standing.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        trainable.allocate(self.model, self.standing.step)
        self.optimizer.zero_grad()
        self.standing.step += 1
        took_s = time.monotonic() - began_s
        self.standing.seconds += took_s
        self._recent_s.append(took_s)
        supervised = sum(block.supervised for block in blocks)
        self.say(
            Stepped(
                self.standing.step,
                self.shape.steps,
                loss,
                rate,
                norm,
                tokens / took_s,
                supervised / took_s,
                memory.peak_bytes(self.accelerator.device),
                self._seconds_left(),
            )
        )

    def _accumulated(self, blocks: Sequence[Block]) -> tuple[float, int]:
        """(loss, tokens) of a step, with its gradients accumulated; in smaller batches if memory runs out."""
        count = sum(map(self.objective.count, blocks)) or 1
        return self._fitting(blocks, self.lessons, lambda some: self._gradients(some, count))

    def _fitting(self, blocks: Sequence[Block], part: Lessons, work: Callable[[Sequence[Block]], T]) -> T:
        """The result of `work` on the blocks, or on smaller ones if memory runs out."""
        while True:
            try:
                return work(blocks)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                blocks = self._smaller(blocks, part, error)

    def _smaller(self, blocks: Sequence[Block], part: Lessons, error: Exception) -> list[Block]:
        """Blocks to try after running out of memory. Raises `TrainingRefused` if they can't be smaller."""
        self.optimizer.zero_grad()
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        largest = max(block.tokens for block in blocks)
        if self.shape.tokens_at_once > largest:
            self.shape = replace(self.shape, tokens_at_once=max(largest, self.shape.tokens_at_once // 2))
            return list(blocks)
        halves = [half for block in blocks for half in block.halves(part.items)]
        if self.accelerator.num_processes > 1 or max(block.tokens for block in halves) == largest:
            raise TrainingRefused(
                f"The memory doesn't hold a row of {largest:,} tokens. Turn --checkpointing on, give a smaller "
                "--block-tokens, or choose a smaller model."
            ) from error
        return halves

    def _gradients(self, blocks: Sequence[Block], count: int) -> tuple[float, int]:
        """Accumulate the gradients of the loss over `count`; returns the loss and the tokens without padding."""
        torch.manual_seed(_seed(self.config.seed, self.standing.step, self.accelerator.process_index))
        total = torch.zeros((), device=self.accelerator.device)
        mine = self._own_batches(blocks)
        for number, one in enumerate(mine):
            last = number == len(mine) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.trainee):
                logprobs = self.trainee(one)
                self._refuse_non_finite(one, logprobs)
                loss = self.objective.loss(one, logprobs) / count
                extra = trainable.regularization(self.model) / len(mine)
                self.accelerator.backward(loss * self.accelerator.num_processes + extra)
            total += loss.detach()
        summed: Any = self.accelerator.reduce(total, "sum")
        return float(summed), sum(block.tokens for block in blocks)

    def _own_batches(self, blocks: Sequence[Block]) -> list[Batch]:
        """This process's batches of the blocks, as many as every other process has."""
        count = self.accelerator.num_processes
        if count == 1:
            groups = list(grouped(blocks, self.shape.tokens_at_once))
        else:
            each, index = -(-len(blocks) // count), self.accelerator.process_index
            share = list(blocks[index::count])
            groups = [[one] for one in (*share, *(Block() for _ in range(each - len(share))))]
        return [batch(one).to(self.accelerator.device) for one in groups]

    def _refuse_non_finite(self, one: Batch, logprobs: torch.Tensor) -> None:
        if bool(torch.isfinite(logprobs.detach()).all()):
            return
        row = int(one.owners[~torch.isfinite(logprobs.detach())][0])
        raise TrainingError(
            f"The loss of example {one.rows[row][0] + 1} of the training part is not a finite number at step "
            f"{self.standing.step + 1}. The step was not applied, and the last checkpoint is complete. Lower the "
            "learning rate, or leave that example out."
        )

    def _clipped(self) -> float:
        largest = self.config.clip or math.inf
        return float(self.accelerator.clip_grad_norm_(self._parameters.values(), largest))

    def _validate(self) -> bool:
        """Measure the validation loss and save the best adapter; returns whether to stop early."""
        if not self._validation_blocks:
            return False
        began_s = time.monotonic()
        loss = self._fitting(self._validation_blocks, self.validation, self._validation_loss)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The validation loss is not a finite number after step {self.standing.step}. The last checkpoint is "
                "complete. Lower the learning rate."
            )
        standing = self.standing
        best = loss < standing.best_loss
        if best:
            standing.best_loss, standing.best_step, standing.looks_without_better = loss, standing.step, 0
            if self.accelerator.is_main_process:
                trainable.save(self.model, self.folder.best)
        else:
            standing.looks_without_better += 1
        standing.seconds += time.monotonic() - began_s
        self.say(Validated(standing.step, loss, best))
        if standing.step < self.shape.steps:
            self.save()
        return 0 < self.config.patience <= standing.looks_without_better

    @cached_property
    def _validation_blocks(self) -> list[Block]:
        return plan.validation_blocks(self.validation, self.shape)

    def _validation_loss(self, blocks: Sequence[Block]) -> float:
        total = torch.zeros((), device=self.accelerator.device)
        for one, logprobs in streamed(self.trainee, self._own_batches(blocks)):
            total += self.validation_objective.loss(one, logprobs)
        summed: Any = self.accelerator.reduce(total, "sum")
        return float(summed) / max(1, sum(map(self.validation_objective.count, blocks)))

    def _is_stopped(self) -> bool:
        """Whether a stop was asked for; waits while the training is paused."""
        told = False
        while True:
            wanted = processes.from_main(lambda: STOP if self.stop_wanted() else self.folder.wanted)
            if wanted != PAUSE:
                return wanted == STOP
            if not told:
                self.save()
                self.say(Paused(self.standing.step))
                told = True
            time.sleep(PAUSE_LOOK_S)

    def _seconds_left(self) -> float:
        each = sum(self._recent_s) / len(self._recent_s)
        return each * (self.shape.steps - self.standing.step)

    def _named(self, blocks: Sequence[Block]) -> str:
        items = sorted({item + 1 for block in blocks for item in block.items})
        listed = ", ".join(map(str, items[:5]))
        return f"the examples of that step ({listed}{' and more' if len(items) > 5 else ''} of the training part)"


def _optimizer(parameters: list[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    match config.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, momentum=0.9, **options)
        case "adafactor":
            return torch.optim.Adafactor(parameters, **options)
    return torch.optim.AdamW(parameters, **options)


def _schedule(optimizer: Any, config: TrainConfig, steps: int) -> Callable[[int], float]:
    """Factors of the learning rate at steps 1 to `steps`; none of them is 0."""
    from transformers import get_scheduler

    warmup = math.ceil(config.warmup * steps)
    plain = getattr(optimizer, "optimizer", optimizer)
    scheduler = get_scheduler(config.schedule, plain, num_warmup_steps=warmup, num_training_steps=steps + 1)
    factor: Callable[[int], float] = scheduler.lr_lambdas[0]
    return factor


def _seed(seed: int, step: int, process: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {process}".encode()).digest()[:7], "big")


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
