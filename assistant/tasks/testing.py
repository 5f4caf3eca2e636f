"""One test of a template: its task for every row of a labelled set, and how right the predictions are."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assistant.errors import AssistantError
from assistant.store.template_tests import TemplateTest
from assistant.tasks.evaluation import Evaluation, check, classes, evaluate
from assistant.tasks.fitted import Fitted, as_json, fitted
from assistant.tasks.rows import rows
from assistant.tasks.run import Batch
from assistant.tasks.task import Task
from prompts.template import Template

Progress = Callable[[int, int], None]
"""(rows that are done, of how many)"""


FITTED = "fitted"


def set_beside(template: Template) -> Path:
    """The labelled set of a template. Raises `AssistantError` where there is none."""
    if template.data is None or not template.data.is_file():
        raise AssistantError("There is no labelled set beside this template. Name one: --data FILE.")
    return template.data


def settings_of(task: Task, examples: Mapping[str, Any]) -> dict[str, Any]:
    """What a task is asked with beside its template, model and adapter. `examples`: which ones, {} for its own."""
    how = {"values": dict(task.values), "sampling": task.sampling.as_dict()}
    return how | ({"examples": dict(examples)} if examples else {})


async def run(
    task: Task, source: Path, calibration: str, progress: Progress, examples: Mapping[str, Any] | None = None
) -> tuple[TemplateTest, Evaluation]:
    """The test, not kept yet. `calibration` "" chooses by the number of rows; `examples` as in `settings_of`.

    Raises, before anything is asked, `InputUnreadable` where a row lacks its truth, and `AssistantError` where a
    calibration is to be fitted and nothing is scored.
    """
    template = task.template
    check(template, rows(source), str(source))
    if calibration == FITTED and not task.scored:
        raise AssistantError(f"{template.name} doesn't score its labels: there is nothing to calibrate.")
    with TemporaryDirectory() as folder:
        batch = Batch(task, source, calibration, Path(folder) / "journal")
        await batch.ask(lambda done: progress(done, batch.total))
        fit = await asyncio.to_thread(_fitted, template, source, batch) if batch.method == FITTED else None
        predicted = list(await batch.predictions(fit.of_row if fit else None))
    evaluation = await asyncio.to_thread(evaluate, template, predicted, task.column)
    how = {"calibration": batch.method, **settings_of(task, examples or {})}
    what = (template.name, template.hash, task.model, task.adapter, how, source.name, batch.digest)
    report = {**evaluation.report, "calibration": batch.method, "failed": batch.failed}
    report |= {FITTED: as_json(fit.whole)} if fit else {}
    report |= {"examples_left_out": batch.left_out} if batch.left_out else {}
    return TemplateTest(*what, evaluation.main, evaluation.values, report, text=template.text), evaluation


def _fitted(template: Template, source: Path, batch: Batch) -> Fitted:
    truths = [classes(row["label"], template.several) for row in rows(source)]
    return fitted(template, truths, list(batch.outcomes()))
