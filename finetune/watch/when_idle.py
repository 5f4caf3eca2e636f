"""Train while the machine is idle: begin when it is, pause during user activity. Nothing is promoted."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlite_utils import Database

from assistant.paths import Paths
from assistant.store.training.datasets import Dataset
from assistant.store.training.runs import Run
from finetune.base import opened_base
from finetune.config import TrainConfig
from finetune.data import dataset
from finetune.data.dataset import Request, request_like
from finetune.data.select import Selection
from finetune.progress import Planned, Progress
from finetune.run_folder import RunFolder
from finetune.train import run
from finetune.train.stop import stop_asked
from finetune.watch.activity import LOOK_S, Activity, watching
from prompts.template import Template

if TYPE_CHECKING:
    from assistant.store.redaction.redactor import Redactor


@dataclass(frozen=True, slots=True)
class Wanted:
    """Training to run: a dataset of this name, made like `beside`, on this model, for `budget_minutes`."""

    model: str
    name: str
    beside: Dataset | None
    budget_minutes: float
    idle_minutes: float
    """Minutes without activity after which the training begins."""


def train_when_idle(
    db: Database,
    paths: Paths,
    wanted: Wanted,
    find_template: Callable[[str], Template],
    redactor: "Callable[[], Redactor]",
    tell: Callable[[str], None],
    say: Callable[[Progress], None],
) -> Run | None:
    """The run as it ended; None if it was stopped before it began. Raises the errors of `finetune data` and `train`."""
    with watching(paths, 60 * wanted.idle_minutes) as activity:
        with stop_asked() as asked:
            if not _waited(activity, asked, tell):
                tell("Stopped before the training began.")
                return None
        made = _frozen(db, paths, wanted, find_template, redactor)
        tell(f"The machine is idle: {made.name} is made from the log, and training begins.")
        config = TrainConfig(budget_minutes=wanted.budget_minutes)

        def told(progress: Progress) -> None:
            if isinstance(progress, Planned):
                activity.hold(RunFolder(paths, progress.run))
            say(progress)

        done = run.begin(db, paths, made.name, wanted.model, config, told)
    if done is not None and done.state == "finished":
        tell(f"The adapter is not in use yet: `finetune eval {done.name}`, then `finetune promote {done.name}`.")
    return done


def _waited(activity: Activity, asked: Callable[[], bool], tell: Callable[[str], None]) -> bool:
    """Whether the machine became idle before a stop was asked for."""
    sign = ""
    while not activity.idle:
        if asked():
            return False
        if activity.sign != sign:
            sign = activity.sign
            tell(f"Waiting for {activity.after_s / 60:g} minutes without activity: {sign}.")
        time.sleep(LOOK_S)
    return True


def _frozen(
    db: Database,
    paths: Paths,
    wanted: Wanted,
    find_template: Callable[[str], Template],
    redactor: "Callable[[], Redactor]",
) -> Dataset:
    beside = wanted.beside
    request = request_like(beside, find_template) if beside else Request(Selection())
    clean = beside is None or beside.source.get("redacted", True)
    tokenizer = opened_base(paths, wanted.model).tokenizer_of_rows()
    prepared = dataset.prepare(db, request, tokenizer, redactor() if clean else None)
    return dataset.freeze(db, wanted.name, prepared)
