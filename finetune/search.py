"""Hyperparameter search: each trial is a training whose adapter is discarded.

Trials are proposed by Optuna's tree-structured Parzen estimator and stopped early if their validation loss is worse
than the median of earlier trials at the same step. They are stored in `runs/search.db`, so that a later search on the
same dataset, model and method continues. The test part is not used.
"""

import dataclasses
import gc
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import transformers
from accelerate import PartialState
from sqlite_utils import Database

from assistant.errors import TrainingError, TrainingRefused
from assistant.paths import Paths
from finetune import defaults, plan
from finetune.config import TrainConfig
from finetune.network.trainee import device_of
from finetune.progress import Progress, Validated
from finetune.run_folder import RunFolder, only_training
from finetune.train import memory
from finetune.train.run import suited
from finetune.train.stop import stop_asked
from finetune.train.trainer_setup import trainer_of
from finetune.train.training_data import TrainingData, read_training_data

LOOKS_PER_EPOCH = 4
"""Validation measurements in an epoch, at the same steps in every trial, so that trials can be compared."""
UNPRUNED = 4
"""Trials that run to their end before any is stopped early."""
FOLDER = ".search-"
"""Prefix of a trial's folder, which is deleted with the trial."""
LOW_RANK = ("lora", "rslora", "dora", "adalora", "qlora")


@dataclass(frozen=True, slots=True)
class Trial:
    """One training. `state`: `complete`, `pruned` (stopped early or out of time) or `failed`. `loss`: nats a token."""

    number: int
    settings: Mapping[str, Any]
    state: str
    loss: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """Results of a search. `config`: the settings of the `best` trial; both None before any validation measurement."""

    trials: tuple[Trial, ...]
    best: Trial | None
    config: TrainConfig | None
    stopped: bool


def search(
    db: Database,
    paths: Paths,
    dataset_name: str,
    model: str,
    config: TrainConfig,
    budget_minutes: float,
    trials: int = 0,
    say: Callable[[Trial], None] = lambda _: None,
) -> Found:
    """Run trials for `budget_minutes`, at most `trials` of them (0: no limit), and return all trials so far.

    `config` gives the settings that aren't searched. A stop, such as by Ctrl-C, keeps finished trials. Raises
    `TrainingRefused`.
    """
    if PartialState().num_processes > 1:
        raise TrainingRefused("A search runs in one process. Start it without `accelerate launch`.")
    until_s = time.monotonic() + 60 * budget_minutes
    with only_training(paths), stop_asked() as asked:
        for left in paths.runs.glob(f"{FOLDER}*"):  # of a killed trial
            shutil.rmtree(left, ignore_errors=True)
        learned = read_training_data(db, paths, dataset_name, model, config)
        config = suited(config, learned)
        if not learned.validation.has_any():
            raise TrainingRefused(
                f"The dataset {dataset_name} has no validation part to compare settings on. Make one with `finetune "
                "data` from more conversations."
            )
        one_epoch = plan.shape(learned.train, dataclasses.replace(config, epochs=1.0), device_of())
        config = dataclasses.replace(config, validate_every=max(1, math.ceil(one_epoch.steps / LOOKS_PER_EPOCH)))
        with _study(paths, learned, config) as study:
            done = 0
            while _has_time(study, until_s, asked, trials, done):
                say(_run_trial(study, paths, learned, config, lambda: asked() or time.monotonic() > until_s))
                done += 1
            return _found(study, config, asked())


def space(config: TrainConfig) -> dict[str, Any]:
    """The search space, as Optuna's distributions."""
    from optuna import distributions

    usual = config.learning_rate
    found: dict[str, Any] = {
        "learning_rate": distributions.FloatDistribution(usual / 10, usual * 10, log=True),
        "epochs": distributions.IntDistribution(1, 4),
        "schedule": distributions.CategoricalDistribution(("linear", "cosine", "constant_with_warmup")),
    }
    if config.method in (*LOW_RANK, "prefix", "prompt"):
        found["rank"] = distributions.CategoricalDistribution((4, 8, 16, 32, 64))
    if config.method in LOW_RANK:
        found["dropout"] = distributions.CategoricalDistribution((0.0, 0.05, 0.1))
    return found


def _has_time(study: Any, until_s: float, asked: Callable[[], bool], trials: int, done: int) -> bool:
    """Whether there is time for another trial, by the shortest complete trial so far."""
    shortest = min((one.seconds for one in map(_trial, study.trials) if one.state == "complete"), default=0.0)
    return not asked() and time.monotonic() + shortest < until_s and (not trials or done < trials)


def _run_trial(study: Any, paths: Paths, learned: TrainingData, fixed: TrainConfig, ends: Callable[[], bool]) -> Trial:
    """Run one trial and report its result to Optuna."""
    from optuna.trial import TrialState

    trial = study.ask(space(fixed))
    given_up = False

    def told(progress: Progress) -> None:
        nonlocal given_up
        if isinstance(progress, Validated):
            trial.report(progress.loss, progress.step)
            given_up = trial.should_prune()

    folder = RunFolder(paths, f"{FOLDER}{trial.number}")
    try:
        config = dataclasses.replace(fixed, **trial.params)
        shape = plan.shape(learned.train, config, device_of())
        memory.refuse_too_large(learned.base, config, shape, device_of())
        trainer = trainer_of(learned, config, shape, folder.create(), told, lambda: given_up or ends())
        if trainer.train() == "stopped":
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, trainer.standing.best_loss)
    except TrainingError as error:
        trial.set_user_attr("error", str(error))
        study.tell(trial, state=TrialState.FAIL)
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)
        gc.collect()  # frees the model before the next trial loads one
    return _trial(study.trials[trial.number])


def _trial(one: Any) -> Trial:
    """Optuna's record of a trial as a `Trial`."""
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(one.state.name, "failed")
    seen = [value for value in one.intermediate_values.values() if math.isfinite(value)]
    loss = one.value if state == "complete" else min(seen, default=None)
    return Trial(one.number, dict(one.params), state, loss, one.duration.total_seconds() if one.duration else 0.0)


def _found(study: Any, fixed: TrainConfig, stopped: bool) -> Found:
    known = [_trial(one) for one in study.trials if one.state.is_finished()]
    ended = [one for one in known if one.state == "complete" and one.loss is not None]
    looked = ended or [one for one in known if one.loss is not None]
    best = min(looked, key=lambda one: one.loss or 0.0, default=None)
    config = dataclasses.replace(fixed, **best.settings) if best else None
    return Found(tuple(known), best, config, stopped)


@contextmanager
def _study(paths: Paths, learned: TrainingData, config: TrainConfig) -> Iterator[Any]:
    """Optuna's study of this dataset, model and method: a new study begins with the default settings."""
    try:
        import optuna
        from optuna.storages import RDBStorage
    except ImportError as error:
        raise TrainingRefused(
            "The search needs Optuna, which isn't installed: pip install 'assistant-loop[search]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    file = paths.runs / "search.db"
    file.touch(mode=0o600)
    try:
        storage = RDBStorage(f"sqlite:///{file}")
        study = optuna.create_study(
            storage=storage, study_name=_name(learned, config), load_if_exists=True, direction="minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
        )  # fmt: skip
    except Exception as error:  # SQLAlchemy, alembic and Optuna have no common base class
        raise TrainingError(f"{file} can't be used: {error}. Move it away to begin a new search.") from error
    try:
        for one in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # of a killed search
            study.tell(one.number, state=optuna.trial.TrialState.FAIL)
        # with an unchanged seed a continued search would propose the same trials again
        study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials), n_startup_trials=5)
        if not study.trials:
            study.enqueue_trial(_usual(config))
        yield study
    finally:
        storage.engine.dispose()


def _usual(config: TrainConfig) -> dict[str, Any]:
    """The settings of a training without options."""
    known = {name: getattr(config, name) for name in space(config)}
    return {**known, "epochs": max(1, round(defaults.epochs(config)))}


def _name(learned: TrainingData, config: TrainConfig) -> str:
    """Name of a study: trials are comparable only if all settings that aren't searched are equal."""
    searched = space(config)
    same = {name: value for name, value in config.as_json().items() if name not in searched}
    told = [learned.dataset.hash, learned.base.hash, same, {name: repr(one) for name, one in searched.items()}]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    return f"{learned.dataset.name} {learned.model} {config.method} {digest}"
