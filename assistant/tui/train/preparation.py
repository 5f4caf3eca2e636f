"""What comes before a training: counting what its data takes of the log, and freezing that as a dataset."""

from dataclasses import replace

from sqlite_utils import Database

from assistant.paths import Paths
from assistant.store.training import datasets
from assistant.store.training.datasets import Dataset
from assistant.tui.jobs import commands
from assistant.tui.jobs.commands import Say
from assistant.tui.log_worker import LogWorker
from assistant.tui.train.setup import Setup, Source, current, free_name, log_state, suggested
from assistant.tui.training import words

DATASET = "mine"
"""Name of the datasets that are made here; later ones get a number."""


async def counted(paths: Paths, reader: LogWorker, setup: Setup, *, chosen: bool) -> tuple[Source, str]:
    """(what to learn from; in words what it takes of the log and what not, and on a second line what so many can show).
    `chosen`: the reader chose the source.

    A dataset is no longer used when the log has changed since it was frozen; it has no words. Raises `TrainingError`.
    """
    source = current(setup.source, await reader.ask(log_state))
    if not chosen and not source.dataset:
        source = await reader.ask(suggested)
    if source.dataset:
        return source, ""
    told = await commands.run(paths, replace(setup, source=source).count_arguments())
    return source, "\n".join(filter(None, (str(told["words"]), str(told["enough"]))))


async def frozen(paths: Paths, reader: LogWorker, setup: Setup, say: Say) -> Source:
    """The source as a dataset; `say` hears how far it is. Raises `TrainingError`."""
    if setup.source.dataset:
        return setup.source

    def before(db: Database) -> tuple[object, list[str]]:
        return log_state(db), [one.name for one in datasets.every(db)]

    def after(db: Database) -> tuple[Dataset, int]:
        dataset = datasets.get(db, name)
        return dataset, sum(datasets.counts(db, dataset.id).values())

    state, taken = await reader.ask(before)
    name = free_name(DATASET, taken)
    await commands.run(paths, setup.data_arguments(name), say)
    about = f"{words.dataset(*await reader.ask(after))}\nof {setup.source.about}"
    return Source(about, name, (), setup.source, state)
