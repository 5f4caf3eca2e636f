"""A whole training: dataset and model in, adapter and its lineage out. Begun, resumed, or only planned."""

import platform
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import accelerate
import peft
import torch
import transformers
from accelerate import Accelerator, PartialState
from safetensors.torch import load_file, save_file
from sqlite_utils import Database

from assistant import __version__
from assistant.engine.engine import default_threads
from assistant.errors import AssistantError, TrainingRefused
from assistant.paths import Paths
from assistant.store import adapters as registry
from assistant.store import datasets, runs
from assistant.store.runs import Run
from finetune import adapters, average, defaults, lineage, llama, memory, pack, plan, processes, replay
from finetune.checkpoint import restore
from finetune.config import TrainConfig
from finetune.course import Course, course, going_on, replaying, to_replay
from finetune.lessons import Lessons
from finetune.lineage import Start
from finetune.losses import Objective, item_sums
from finetune.model import Trainee, device_of, precision_of
from finetune.plan import Measured, Shape
from finetune.progress import Advanced, Ended, Planned, Progress, Stepped, Validated, figures_of
from finetune.run_folder import RunFolder, lower_priority, only_training
from finetune.sample import sampled
from finetune.trackers import Trackers, refuse_missing
from finetune.train import Trainer

COMPARED = ("dpo", "kto")
"""Objectives that look at how far the model has gone from its base."""


def begin(
    db: Database,
    paths: Paths,
    dataset_name: str,
    model: str,
    config: TrainConfig,
    say: Callable[[Progress], None],
    *,
    only_plan: bool = False,
    start: str = lineage.BASE,
    given: Collection[str] = (),
) -> Run | None:
    """Train on a dataset; the run as it ended. With `only_plan` nothing but the plan is said, and None returned.

    `start`: what to go on from, as `lineage.start_of` takes it. `given`: names of settings that were asked for
    explicitly, and that an adapter to go on from must not contradict.

    Raises a `TrainingError`; a run that had begun is kept as failed, with its last checkpoint.
    """
    refuse_settings(config)
    device = device_of()
    main = processes.is_main(device.type == "cpu")
    with only_training(paths) if main else nullcontext():
        if main:
            _close_killed(db)
        from_adapter = lineage.start_of(db, paths, model, start)
        if from_adapter:
            config = lineage.settings(db, paths, from_adapter, config, given)
        learned = course(db, paths, dataset_name, model, config)
        config = suited(config, learned)
        shape = plan.shape(learned.train, config, device, own=llama.computes(learned.base.config, config))
        if from_adapter:
            learned = going_on(db, paths, learned, from_adapter)
        learned = replaying(db, learned, to_replay(db, learned, config, shape), config)
        shape = plan.beside(shape, learned.train, config)
        memory.refuse_too_large(learned.base, config, shape, device)
        if only_plan:
            trainer = trainer_of(learned, config, shape, RunFolder(paths, ".plan"), say)
            say(_planned("", trainer, _settled(trainer, config), learned))
            return None
        run = runs.get(db, processes.from_main(lambda: _added(db, learned, config, shape).name))
        return _work(db, paths, run, learned, config, shape, say)


def suited(config: TrainConfig, learned: Course) -> TrainConfig:
    """The settings with what was left open, for this model and what is learned."""
    width = learned.base.config.get_text_config(decoder=True).hidden_size
    return defaults.suited(config, width, learned.train.objective)


def refuse_settings(config: TrainConfig) -> None:
    """Raise `TrainingRefused` for what this machine can't do, whatever it is trained on."""
    refuse_missing(config)
    if config.method == "qlora" and device_of().type != "cuda":
        raise TrainingRefused("qlora needs a GPU: on a CPU a base of 4 bits would be slower. Take --method lora.")


def resume(db: Database, paths: Paths, run_name: str, say: Callable[[Progress], None]) -> Run:
    """Go on with a run that was stopped or killed, from its last checkpoint. Raises a `TrainingError`."""
    run = runs.get(db, run_name)
    main = processes.is_main(device_of().type == "cpu")
    with only_training(paths) if main else nullcontext():
        if main:
            _close_killed(db)
        if "taught" in run.config:
            raise TrainingRefused(f"{run.name} taught corrections, which begins anew: `finetune teach`.")
        if run.state == "finished":
            raise TrainingRefused(f"{run.name} is finished. Begin another training on its dataset instead.")
        dataset = datasets.by_id(db, run.dataset_id)
        if dataset is None:
            raise TrainingRefused(f"The dataset that {run.name} learned from is deleted. Begin another training.")
        config = TrainConfig.from_json(run.config["settings"])
        refuse_missing(config)
        learned = course(db, paths, dataset.name, run.model, config)
        if start := Start.from_json(run.config.get("start")):
            learned = going_on(db, paths, learned, start)
        learned = replaying(db, learned, run.config.get("replayed", ()), config)
        if _fingerprint(learned)[: len(run.config["examples"])] != run.config["examples"]:
            raise TrainingRefused(
                f"Examples of {dataset.name} were deleted since {run.name} began, so that it can't go on as it was. "
                "Begin another training on what is left."
            )
        if learned.base.hash != run.base_hash:
            raise TrainingRefused(f"{run.model} is another model than when {run.name} began. Begin another training.")
        return _work(db, paths, run, learned, suited(config, learned), Shape.from_json(run.config["shape"]), say)


def _added(db: Database, learned: Course, config: TrainConfig, shape: Shape) -> Run:
    told = {"settings": config.as_json(), "shape": shape.as_json(), "examples": _fingerprint(learned)}
    if learned.start:
        told |= {"start": learned.start.as_json(), "replayed": list(learned.replayed)}
    dataset = learned.dataset
    return runs.add(db, dataset.name, dataset.id, dataset.hash, learned.model, learned.base.hash, told)


def _fingerprint(learned: Course) -> list[int]:
    """Tells whether examples are still what they were: a dataset never changes but by deletion."""
    earlier = sum(len(one.items) for one in learned.train.streams if one.teacher == "start")
    return [len(learned.train.examples), len(learned.validation.examples), earlier]


def _close_killed(db: Database) -> None:
    """Runs that are said to go on while none does were killed."""
    for one in runs.every(db):
        if one.state == "running":
            runs.set_state(db, one.id, "stopped", "It was killed. `finetune train --resume` goes on with it.")


def _work(
    db: Database,
    paths: Paths,
    run: Run,
    learned: Course,
    config: TrainConfig,
    shape: Shape,
    say: Callable[[Progress], None],
) -> Run:
    folder = RunFolder(paths, run.name).create()
    restore(folder.best)
    main, tracked = PartialState().is_main_process, Trackers()
    if main:
        folder.want("")
        runs.set_state(db, run.id, "running")

    def told(progress: Progress) -> None:
        if not main:
            return
        if isinstance(progress, Stepped | Validated):
            runs.add_point(db, run.id, progress.step, figures_of(progress))
        tracked.log(progress)
        say(progress)

    try:
        with stop_asked() as stop_wanted:
            trainer = trainer_of(learned, config, shape, folder, told, stop_wanted)
            trainer.resume()
            measured = _settled(trainer, config)
            _soften(trainer, folder)
            if main and trainer.shape != shape:
                runs.set_config(db, run.id, {**run.config, "shape": trainer.shape.as_json()})
            told(_planned(run.name, trainer, measured, learned))
            names, step = config.trackers if main else (), trainer.standing.step
            with tracked.started(names, folder, run.name, step, _origin(learned, trainer)):
                reason = trainer.train()
        if main:
            if reason != "stopped":
                _keep(db, paths, run, trainer, folder, learned, reason)
            runs.set_state(db, run.id, "stopped" if reason == "stopped" else "finished")
    except BaseException as error:
        if main:
            told_error = str(error) if isinstance(error, AssistantError) else f"{type(error).__name__}: {error}"
            runs.set_state(db, run.id, "failed", told_error)
        raise
    trainer.accelerator.wait_for_everyone()
    done = runs.get(db, run.name)
    told(Ended(run.name, done.state, trainer.standing.step, done.result.get("adapter", ""), done.adapter_hash, reason))
    return done


def trainer_of(
    learned: Course,
    config: TrainConfig,
    shape: Shape,
    folder: RunFolder,
    say: Callable[[Progress], None],
    stop_wanted: Callable[[], bool] = lambda: False,
) -> Trainer:
    """The model loaded, with what is trained in it, and the losses."""
    device = device_of()
    if device.type == "cpu":
        torch.set_num_threads(default_threads())
        lower_priority()
    transformers.logging.set_verbosity_error()
    activations = precision_of(config.precision, device)
    own = config.changes_base
    mixed = "bf16" if own and activations == torch.bfloat16 else "no"
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
    torch.manual_seed(config.seed)  # what adapters begin with
    model = learned.base.load(torch.float32 if own else activations, accelerator.device)
    model = adapters.prepare(model, config, shape.steps, learned.model, learned.train.types, learned.start_folder)
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
    trainee: Trainee, learned: Course, config: TrainConfig, shape: Shape, folder: RunFolder, device: torch.device
) -> list[Objective]:
    """The losses of both parts; where they compare with what the training begins with, the base or an adapter, that is
    asked once and kept for a resumed run.
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
    return [one.learned(_by_item(one, known.get(name)), config) for name, one in parts.items()]


def _reference(trainee: Trainee, part: Lessons, shape: Shape, device: torch.device) -> torch.Tensor:
    blocks = pack.pack(part.items, shape.block_tokens, "reference", together=True)
    sums = item_sums(trainee, part.items, blocks, shape.tokens_at_once, device)
    return torch.tensor([value for one in sums for value in one], dtype=torch.float64)


def _by_item(part: Lessons, flat: torch.Tensor | None) -> list[list[float]]:
    if flat is None:
        return []
    values = iter(flat.tolist())
    return [[next(values) for _ in rows] for rows in part.items]


def _settled(trainer: Trainer, config: TrainConfig) -> Measured:
    """What a step takes; a training that begins gets as many steps as its budget has room for."""
    measured = trainer.measure()
    if trainer.lessons.replayed:  # a forward pass of it before the training is a third of a step
        asked = 1 + (1 - trainer.lessons.streams[0].share) / 3
        measured = replace(measured, tokens_per_s=measured.tokens_per_s / asked)
    if config.budget_minutes and trainer.standing.step == 0:
        trainer.shape = processes.from_main(partial(plan.within_budget, trainer.shape, measured, config))
        trainer.lay_out_rate()
    return measured


def _soften(trainer: Trainer, folder: RunFolder) -> None:
    """Ask the model that the training begins with for what is replayed, once: a resumed run reads it again."""
    if not trainer.lessons.replayed:
        return
    trainee, device = trainer.accelerator.unwrap_model(trainer.trainee), trainer.accelerator.device
    with PartialState().main_process_first():
        if PartialState().is_main_process and not trainer.standing.step:
            trainer.say(Advanced("asking the model for what is replayed"))
            replay.ask(trainee, trainer.lessons, trainer.shape, trainer.config.seed, folder.replay, device)
        replay.take(trainer.lessons, trainer.shape, trainer.config.seed, folder.replay)


def _planned(name: str, trainer: Trainer, measured: Measured, learned: Course) -> Planned:
    shape = trainer.shape
    tokens = shape.tokens_per_step * shape.steps
    return Planned(
        name,
        len(trainer.lessons.examples),
        tokens,
        round(tokens * measured.supervised_share),
        shape.steps,
        (1 + plan.LOOK_SHARE) * (shape.steps - trainer.standing.step) * shape.tokens_per_step / measured.tokens_per_s,
        memory.peak_bytes(trainer.accelerator.device),
        sum(one.numel() for one in adapters.trained(trainer.model).values()),
        **asdict(learned.cuts),
        start=learned.start.adapter if learned.start else "",
        replayed=len(learned.replayed),
        deleted=", ".join(learned.deleted),
    )


def _keep(
    db: Database, paths: Paths, run: Run, trainer: Trainer, folder: RunFolder, learned: Course, reason: str
) -> None:
    """Put the best adapter where the chat finds it, and into the log with its lineage."""
    if not trainer.validation.examples:  # nothing to choose by: the last one
        adapters.save(trainer.model, folder.best)
    share = _averaged(db, trainer, folder, learned)
    standing = trainer.standing
    result: dict[str, Any] = {
        "steps": standing.step,
        "seconds": standing.seconds,
        "best_step": standing.best_step,
        "validation_loss": standing.best_loss if trainer.validation.examples else None,
        "reason": reason,
        "processes": trainer.accelerator.num_processes,
        **({"average": share} if learned.start else {}),
        **asdict(learned.cuts),
    }
    hash_ = adapters.keep(folder.best, paths.adapters / run.name)
    lineage = {**_origin(learned, trainer), "result": result, "made_with": made_with()}
    registry.add(db, hash_, run.name, run.id, run.model, run.base_hash, lineage)
    runs.set_result(db, run.id, {**result, "adapter": run.name}, hash_)


def _averaged(db: Database, trainer: Trainer, folder: RunFolder, learned: Course) -> float:
    """Average the best adapter with the one that the training went on from, where it lost too much of what that had
    learned; the share of the new weights.
    """
    if learned.start is None or learned.start_folder is None:
        return 1.0
    trainer.say(Advanced("comparing with what was learned before"))
    config = trainer.config
    parts = average.validation_parts(
        db, learned.start, learned.base.tokenizer_of_rows(config.block_tokens), config.seed
    )
    items, device = trainer.validation.items, trainer.accelerator.device
    new = [items[place] for place in sampled(items, average.MOST_TOKENS, config.seed)] if len(items) else []
    return average.settle(trainer.model, learned.start_folder, folder.best, new, parts, device)


def _origin(learned: Course, trainer: Trainer) -> dict[str, Any]:
    """What a run's adapter comes from."""
    start = {"start": learned.start.as_json(), "replayed": len(learned.replayed)} if learned.start else {}
    return {
        "base": {"model": learned.model, "sha256": learned.base.hash},
        "dataset": {"name": learned.dataset.name, "sha256": learned.dataset.hash},
        "settings": trainer.config.as_json(),
        "shape": trainer.shape.as_json(),
        **start,
    }


def made_with() -> dict[str, str]:
    """The programs that a training's numbers depend on."""
    return {
        "assistant": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "accelerate": accelerate.__version__,
        "python": platform.python_version(),
    }


@contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or the system asked the process to end; a second Ctrl-C ends it at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, _: object) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    before = {one: signal.signal(one, ask) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
