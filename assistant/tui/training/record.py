"""One run as the log and the data folder have it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from assistant.errors import TrainingError
from assistant.paths import Paths
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.runs import Evaluation, Run
from finetune.data.example import Example
from finetune.prove.objections import objections
from finetune.run_folder import is_training


@dataclass(frozen=True, slots=True)
class Record:
    """A run with what belongs to it."""

    run: Run
    points: Sequence[tuple[int, Mapping[str, float]]]
    evaluation: Evaluation | None
    dataset: str
    in_use: bool
    adapter: str
    """Name of the adapter that it made; empty where there is none, or no longer."""
    prompt: str
    """Something that was said in the held-out part, to try it with."""
    is_training: bool
    """Whether it is trained now."""
    objections: Sequence[str] = ()
    """Reasons not to promote the adapter, a sentence each."""

    @property
    def is_better(self) -> bool:
        """Whether the proof is good and the adapter waits to be promoted."""
        return bool(self.adapter) and self.evaluation is not None and not self.objections and not self.in_use

    @property
    def state(self) -> str:
        """In a word."""
        return state(self.run, is_training=self.is_training)


def state(run: Run, *, is_training: bool) -> str:
    """The state of a run in a word; a run that the log calls running, but isn't, was killed."""
    return "interrupted" if run.state == "running" and not is_training else run.state


def alive(db: Database, paths: Paths, watched: str = "") -> str:
    """Name of the run that is trained now, in any process, or empty. `watched`: a run that is known to be trained.

    The lock of trainings is only tried where the log says that a run goes on: while it is tried, none can begin.
    """
    said = next((one.name for one in runs.every(db) if one.state == "running"), "")
    return watched or (said if said and is_training(paths) else "")


def read(db: Database, name: str, *, is_training: bool) -> Record:
    """What the log knows about a run. Raises `StoreError` where there is none of that name."""
    run = runs.get(db, name)
    evaluation = runs.evaluation(db, run.id)
    if evaluation is not None and evaluation.adapter_hash != run.adapter_hash:
        evaluation = None  # of what it had made before it was resumed
    used = adapters.in_use(db, run.model)
    made = adapters.find(db, run.adapter_hash) if run.adapter_hash else None
    dataset = datasets.by_id(db, run.dataset_id)
    return Record(
        run,
        runs.points(db, run.id),
        evaluation,
        dataset.name if dataset else "",
        used is not None and used.hash == run.adapter_hash,
        made.name if made else "",
        _held_out_prompt(db, run),
        is_training,
        objections(db, made) if made else (),
    )


def _held_out_prompt(db: Database, run: Run) -> str:
    if run.dataset_id is None:
        return ""
    held_out = next(datasets.examples(db, run.dataset_id, "test"), None)
    said = Example.from_json(held_out.body).messages if held_out else ()
    return next((one.content for one in said if one.role == "user"), "")


def discard(db: Database, paths: Paths, name: str) -> None:
    """Delete the adapter that a run made. Raises `TrainingError` where its files can't be deleted."""
    run = runs.get(db, name)
    adapter = adapters.find(db, run.adapter_hash)
    if adapter is None:
        return
    folder = paths.adapters / adapter.name
    if folder.parent == paths.adapters and folder.is_dir():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise TrainingError(f"The adapter in {folder} can't be deleted: {error.strerror}.") from error
    adapters.remove(db, adapter.hash)
