"""The trainings that the log knows of, as lines of the Train screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from sqlite_utils import Database
from textual.content import Content

from assistant.safe_text import cell_width, shorten
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.datasets import Dataset
from assistant.store.training.runs import Evaluation, Run
from assistant.tui.clock import column_time
from assistant.tui.training import proof, record, words
from finetune.prove.objections import objections

QUIET = "$foreground 60%"
_TIME_CELLS, _NAME_CELLS, _STATE_CELLS, _LOSS_CELLS = 14, 22, 12, 10


@dataclass(frozen=True, slots=True)
class History:
    """Trainings and datasets. `in_use`: hash of the adapter that the model's new replies are made with, or empty."""

    runs: Sequence[Run] = ()
    evaluations: Sequence[Evaluation | None] = ()
    datasets: Sequence[tuple[Dataset, int]] = ()
    """Each with how many examples it has."""
    in_use: str = ""
    alive: str = ""
    """Name of the run that is trained now, or empty."""
    better: str = ""
    """Name of the newest run that is proved better and waits to be promoted, or empty."""

    def find(self, name: str) -> tuple[Run, Evaluation | None] | None:
        """A run with its evaluation."""
        both = zip(self.runs, self.evaluations, strict=True)
        return next((one for one in both if one[0].name == name), None)


def read(db: Database, model: str, alive: str) -> History:
    """The trainings, newest first. `model`: whose adapter may be in use; `alive`: name of the run that is trained."""
    trained = runs.every(db)
    used = adapters.in_use(db, model)
    return History(
        trained,
        [runs.evaluation(db, one.id) for one in trained],
        [(one, sum(datasets.counts(db, one.id).values())) for one in datasets.every(db)],
        used.hash if used else "",
        alive,
        _better(db, trained, model, used.hash if used else ""),
    )


def _better(db: Database, trained: Sequence[Run], model: str, in_use: str) -> str:
    """Name of the newest run since that in use which is proved better and was never promoted."""
    tried = {one.adapter_hash for one in adapters.history(db, model)}
    for run in takewhile(lambda one: not in_use or one.adapter_hash != in_use, trained):
        made = adapters.find(db, run.adapter_hash) if run.adapter_hash and run.model == model else None
        if made and run.adapter_hash not in tried and not objections(db, made):
            return run.name
    return ""


def lines(history: History, now: datetime) -> tuple[Content, list[Content]]:
    """(heading, a line for each run)."""
    titles = _columns(" when", "training") + _padded("state", _STATE_CELLS) + "held out  proof"
    heading = Content.styled(titles, QUIET)
    return heading, [
        _line(run, evaluation, now, history.alive, in_use=bool(run.adapter_hash) and run.adapter_hash == history.in_use)
        for run, evaluation in zip(history.runs, history.evaluations, strict=True)
    ]


def _line(run: Run, evaluation: Evaluation | None, now: datetime, alive: str, *, in_use: bool) -> Content:
    state = "in use" if in_use else record.state(run, is_training=run.name == alive)
    proved = proof.verdict(evaluation.report) if evaluation else ""
    line = Content(_columns(" " + column_time(run.created_ms, now), run.name))
    line += Content.styled(_padded(state, _STATE_CELLS), "$accent" if in_use else "")
    return line + _padded(words.held_out(run.result), _LOSS_CELLS) + proved


def _columns(when: str, name: str) -> str:
    return _padded(when, _TIME_CELLS) + _padded(shorten(name, _NAME_CELLS - 2), _NAME_CELLS)


def _padded(text: str, cells: int) -> str:
    return text + " " * max(1, cells - cell_width(text))


def details(history: History, number: int) -> str:
    """The settings of a run that differ from those of the run before it."""
    run = history.runs[number]
    if number + 1 == len(history.runs):
        return "The first training."
    before = history.runs[number + 1]
    told = words.differences(run, before) or ["the same settings"]
    return f"{run.error + ' ' if run.error else ''}Compared with {before.name}: {', '.join(told)}."
