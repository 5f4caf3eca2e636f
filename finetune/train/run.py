"""A whole training, from dataset and model to adapter and lineage: begin, resume, or only plan."""

from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import asdict

from accelerate import PartialState
from sqlite_utils import Database

from assistant.errors import AssistantError, TrainingRefused
from assistant.paths import Paths
from assistant.store.training import datasets, runs
from assistant.store.training.runs import Run
from finetune import defaults, plan
from finetune.config import TrainConfig
from finetune.lineage import lineage
from finetune.lineage.lineage import Start
from finetune.network import llama, trainable
from finetune.network.trainee import device_of
from finetune.plan import Measured, Shape
from finetune.progress import Ended, Planned, Progress, Stepped, Validated, figures_of
from finetune.run_folder import RunFolder, only_training
from finetune.train import memory, processes, saved_run
from finetune.train.stop import stop_asked
from finetune.train.trackers import Trackers, refuse_missing
from finetune.train.trainer import Trainer
from finetune.train.trainer_setup import measured_plan, set_soft_targets, trainer_of
from finetune.train.training_data import TrainingData, read_training_data, replayed_ids, starting_from, with_replay
from finetune.whole_folder import restore


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
    """Train on a dataset; returns the finished or stopped run. `only_plan`: report the plan and return None.

    `start`: adapter to start from, as in `lineage.start_of`. `given`: names of settings that were set explicitly and
    must not contradict that adapter.

    Raises `TrainingError`; a run that had begun is stored as failed, with its last checkpoint.
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
        learned = read_training_data(db, paths, dataset_name, model, config)
        config = suited(config, learned)
        shape = plan.shape(learned.train, config, device, own=llama.computes(learned.base.config, config))
        if from_adapter:
            learned = starting_from(db, paths, learned, from_adapter)
        learned = with_replay(db, learned, replayed_ids(db, learned, config, shape), config)
        shape = plan.beside(shape, learned.train, config)
        memory.refuse_too_large(learned.base, config, shape, device)
        if only_plan:
            trainer = trainer_of(learned, config, shape, RunFolder(paths, ".plan"), say)
            say(_planned("", trainer, measured_plan(trainer, config), learned))
            return None
        run = runs.get(db, processes.from_main(lambda: _added(db, learned, config, shape).name))
        return _work(db, paths, run, learned, config, shape, say)


def suited(config: TrainConfig, learned: TrainingData) -> TrainConfig:
    """`config` with its open settings chosen for the model and the objective."""
    width = learned.base.config.get_text_config(decoder=True).hidden_size
    return defaults.suited(config, width, learned.train.objective)


def refuse_settings(config: TrainConfig) -> None:
    """Raise `TrainingRefused` for settings that this machine doesn't support."""
    refuse_missing(config)
    if config.method == "qlora" and device_of().type != "cuda":
        raise TrainingRefused("qlora needs a GPU: a 4-bit base would be slower on a CPU. Use --method lora.")


def resume(db: Database, paths: Paths, run_name: str, say: Callable[[Progress], None]) -> Run:
    """Resume a stopped or killed run from its last checkpoint. Raises `TrainingError`."""
    run = runs.get(db, run_name)
    main = processes.is_main(device_of().type == "cpu")
    with only_training(paths) if main else nullcontext():
        if main:
            _close_killed(db)
        if "taught" in run.config:
            raise TrainingRefused(f"{run.name} taught corrections and can't be resumed: run `finetune teach` again.")
        if run.state == "finished":
            raise TrainingRefused(f"{run.name} is finished. Begin another training on its dataset instead.")
        dataset = datasets.by_id(db, run.dataset_id)
        if dataset is None:
            raise TrainingRefused(f"The dataset of {run.name} was deleted. Begin another training.")
        config = TrainConfig.from_json(run.config["settings"])
        refuse_missing(config)
        learned = read_training_data(db, paths, dataset.name, run.model, config)
        if start := Start.from_json(run.config.get("start")):
            learned = starting_from(db, paths, learned, start)
        learned = with_replay(db, learned, run.config.get("replayed", ()), config)
        if _fingerprint(learned)[: len(run.config["examples"])] != run.config["examples"]:
            raise TrainingRefused(
                f"Examples of {dataset.name} were deleted since {run.name} began, so it can't be resumed. Begin "
                "another training on the remaining examples."
            )
        if learned.base.hash != run.base_hash:
            raise TrainingRefused(f"{run.model} has other weights than when {run.name} began. Begin another training.")
        return _work(db, paths, run, learned, suited(config, learned), Shape.from_json(run.config["shape"]), say)


def _added(db: Database, learned: TrainingData, config: TrainConfig, shape: Shape) -> Run:
    told = {"settings": config.as_json(), "shape": shape.as_json(), "examples": _fingerprint(learned)}
    if learned.start:
        told |= {"start": learned.start.as_json(), "replayed": list(learned.replayed)}
    dataset = learned.dataset
    return runs.add(db, dataset.name, dataset.id, dataset.hash, learned.model, learned.base.hash, told)


def _fingerprint(learned: TrainingData) -> list[int]:
    """Numbers of examples, which show whether any were deleted: datasets don't change otherwise."""
    earlier = sum(len(one.items) for one in learned.train.streams if one.teacher == "start")
    return [len(learned.train.examples), len(learned.validation.examples), earlier]


def _close_killed(db: Database) -> None:
    """Mark runs as stopped that are stored as running: the training lock is free, so they were killed."""
    for one in runs.every(db):
        if one.state == "running":
            runs.set_state(db, one.id, "stopped", "It was killed. `finetune train --resume` continues it.")


def _work(
    db: Database,
    paths: Paths,
    run: Run,
    learned: TrainingData,
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
            measured = measured_plan(trainer, config)
            set_soft_targets(trainer, folder)
            if main and trainer.shape != shape:
                runs.set_config(db, run.id, {**run.config, "shape": trainer.shape.as_json()})
            told(_planned(run.name, trainer, measured, learned))
            names, step = config.trackers if main else (), trainer.standing.step
            with tracked.started(names, folder, run.name, step, saved_run.origin(learned, trainer)):
                reason = trainer.train()
        if main:
            if reason != "stopped":
                saved_run.keep(db, paths, run, trainer, folder, learned, reason)
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


def _planned(name: str, trainer: Trainer, measured: Measured, learned: TrainingData) -> Planned:
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
        sum(one.numel() for one in trainable.trained(trainer.model).values()),
        **asdict(learned.cuts),
        start=learned.start.adapter if learned.start else "",
        replayed=len(learned.replayed),
        deleted=", ".join(learned.deleted),
    )
