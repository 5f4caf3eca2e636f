"""A whole training: dataset and model in, adapter and its lineage out. Begun, resumed, or only planned."""

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
from finetune.network import adapters, llama
from finetune.network.model import device_of
from finetune.plan import Measured, Shape
from finetune.progress import Ended, Planned, Progress, Stepped, Validated, figures_of
from finetune.run_folder import RunFolder, only_training
from finetune.train import kept, memory, processes
from finetune.train.course import Course, course, going_on, replaying, to_replay
from finetune.train.loop import Trainer
from finetune.train.setup import settled, soften, trainer_of
from finetune.train.stop import stop_asked
from finetune.train.trackers import Trackers, refuse_missing
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
            say(_planned("", trainer, settled(trainer, config), learned))
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
            measured = settled(trainer, config)
            soften(trainer, folder)
            if main and trainer.shape != shape:
                runs.set_config(db, run.id, {**run.config, "shape": trainer.shape.as_json()})
            told(_planned(run.name, trainer, measured, learned))
            names, step = config.trackers if main else (), trainer.standing.step
            with tracked.started(names, folder, run.name, step, kept.origin(learned, trainer)):
                reason = trainer.train()
        if main:
            if reason != "stopped":
                kept.keep(db, paths, run, trainer, folder, learned, reason)
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
