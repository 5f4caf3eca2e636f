"""A training that gives way: begun when nobody uses the machine, paused while somebody does. Nothing is promoted."""

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
from finetune.watch.presence import LOOK_S, Presence, watching
from prompts.template import Template

if TYPE_CHECKING:
    from assistant.store.redaction.redactor import Redactor


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be trained: a dataset of this name, made as `beside` was, on this model for so many minutes."""

    model: str
    name: str
    beside: Dataset | None
    budget_minutes: float
    idle_minutes: float
    """How long nobody must have been here."""


def train_when_idle(
    db: Database,
    paths: Paths,
    wanted: Wanted,
    find_template: Callable[[str], Template],
    redactor: "Callable[[], Redactor]",
    tell: Callable[[str], None],
    say: Callable[[Progress], None],
) -> Run | None:
    """The run as it ended; None where Ctrl-C came before it began. Raises what `finetune data` and `train` do."""
    with watching(paths, 60 * wanted.idle_minutes) as presence:
        with stop_asked() as asked:
            if not _waited(presence, asked, tell):
                tell("Stopped before anything was trained.")
                return None
        made = _frozen(db, paths, wanted, find_template, redactor)
        tell(f"Nobody is here: {made.name} is made of the log, and training begins.")
        config = TrainConfig(budget_minutes=wanted.budget_minutes)

        def told(progress: Progress) -> None:
            if isinstance(progress, Planned):
                presence.hold(RunFolder(paths, progress.run))
            say(progress)

        done = run.begin(db, paths, made.name, wanted.model, config, told)
    if done is not None and done.state == "finished":
        tell(f"Nothing is in use yet: `finetune eval {done.name}`, then `finetune promote {done.name}`.")
    return done


def _waited(presence: Presence, asked: Callable[[], bool], tell: Callable[[str], None]) -> bool:
    """Whether it became idle before it was stopped."""
    sign = ""
    while not presence.idle:
        if asked():
            return False
        if presence.sign != sign:
            sign = presence.sign
            tell(f"Waiting until nobody was here for {presence.after_s / 60:g} minutes: {sign}.")
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
