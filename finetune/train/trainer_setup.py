"""Assemble a trainer: model, trained parameters, objectives, soft targets of replayed examples."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
import transformers
from accelerate import Accelerator, PartialState
from safetensors.torch import load_file, save_file

from assistant.engine.engine import default_threads
from assistant.engine.hardware import machine, product_speed
from assistant.paths import cache_folder
from finetune import plan
from finetune.config import TrainConfig
from finetune.data import pack
from finetune.data.lessons import Lessons
from finetune.lineage import replay
from finetune.network import losses, trainable
from finetune.network.losses import Objective, item_sums
from finetune.network.trainee import Trainee, device_of, precision_of
from finetune.plan import Measured, Shape
from finetune.progress import Advanced, Progress
from finetune.run_folder import RunFolder, lower_priority
from finetune.train import processes
from finetune.train.expected import by_products
from finetune.train.trainer import Trainer
from finetune.train.training_data import TrainingData

COMPARED = ("dpo", "kto")
"""Objectives that compare with the base's log-probabilities."""
MUCH = 4
"""A training that is so many times slower or faster than expected says that the expectation was wrong."""


def trainer_of(
    learned: TrainingData,
    config: TrainConfig,
    shape: Shape,
    folder: RunFolder,
    say: Callable[[Progress], None],
    stop_wanted: Callable[[], bool] = lambda: False,
) -> Trainer:
    """A trainer with the model loaded and prepared."""
    device = device_of()
    if device.type == "cpu":
        torch.set_num_threads(default_threads())
        lower_priority()
    transformers.logging.set_verbosity_error()
    activations = precision_of(config.precision, device)
    own = config.changes_base
    mixed = "bf16" if own and activations == torch.bfloat16 else "no"
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
    torch.manual_seed(config.seed)  # initial weights of adapters
    model = learned.base.load(torch.float32 if own else activations, accelerator.device)
    model = trainable.prepare(model, config, shape.steps, learned.model, learned.train.types, learned.start_folder)
    trainee = Trainee(model)
    objectives = _objectives(trainee, learned, config, shape, folder, accelerator.device)
    return Trainer(
        accelerator,
        model,
        config,
        shape,
        learned.train,
        objectives[0],
        learned.validation,
        objectives[1],
        folder,
        say,
        stop_wanted,
    )


def _objectives(
    trainee: Trainee, learned: TrainingData, config: TrainConfig, shape: Shape, folder: RunFolder, device: torch.device
) -> list[Objective]:
    """Objectives of the training and the validation part. For those that compare, the log-probabilities under the
    starting model (base or adapter) are computed once and stored for a resumed run.
    """
    parts = {"train": learned.train, "validation": learned.validation}
    known: dict[str, torch.Tensor] = {}
    if learned.train.objective in COMPARED:
        with PartialState().main_process_first():
            if not folder.reference.is_file():
                with nullcontext() if learned.start else trainee.base():
                    found = {name: _reference(trainee, one, shape, device) for name, one in parts.items()}
                folder.create()
                save_file(found, folder.reference)
        known = load_file(folder.reference)
    return [losses.objective(one, _by_item(one, known.get(name)), config) for name, one in parts.items()]


def _reference(trainee: Trainee, part: Lessons, shape: Shape, device: torch.device) -> torch.Tensor:
    blocks = pack.pack(part.items, shape.block_tokens, "reference", together=True)
    sums = item_sums(trainee, part.items, blocks, shape.tokens_at_once, device)
    return torch.tensor([value for one in sums for value in one], dtype=torch.float64)


def _by_item(part: Lessons, flat: torch.Tensor | None) -> list[list[float]]:
    if flat is None:
        return []
    values = iter(flat.tolist())
    return [[next(values) for _ in rows] for rows in part.items]


def measured_plan(trainer: Trainer, config: TrainConfig) -> Measured:
    """Measure the speed; for a new run with a budget also set the number of steps."""
    measured = trainer.measure()
    if trainer.accelerator.device.type == "cpu":
        doubt_products(measured.tokens_per_s, sum(one.numel() for one in trainer.model.parameters()))
    if trainer.lessons.replayed:  # `soften` takes a forward pass of them, a third of a step
        asked = 1 + (1 - trainer.lessons.streams[0].share) / 3
        measured = replace(measured, tokens_per_s=measured.tokens_per_s / asked)
    if config.budget_minutes and trainer.standing.step == 0:
        trainer.shape = processes.from_main(partial(plan.within_budget, trainer.shape, measured, config))
        trainer.set_schedule()
    return measured


def doubt_products(tokens_per_s: float, parameters: int) -> None:
    """Forget the measured speed of this CPU's products where a training is many times slower or faster than expected.

    Other programs ran when the products were measured, or run now: they are measured again at the next start.
    """
    promised = by_products(parameters)
    if promised and not promised / MUCH < tokens_per_s < promised * MUCH:
        product_speed.forget(cache_folder() / machine.SPEEDS)


def set_soft_targets(trainer: Trainer, folder: RunFolder) -> None:
    """Set the soft targets of replayed examples: computed with the starting model, or read again by a resumed run."""
    if not trainer.lessons.replayed:
        return
    trainee, device = trainer.accelerator.unwrap_model(trainer.trainee), trainer.accelerator.device
    with PartialState().main_process_first():
        if PartialState().is_main_process and not trainer.standing.step:
            trainer.say(Advanced("computing targets of replayed examples"))
            replay.ask(trainee, trainer.lessons, trainer.shape, trainer.config.seed, folder.replay, device)
        replay.take(trainer.lessons, trainer.shape, trainer.config.seed, folder.replay)
