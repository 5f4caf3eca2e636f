"""One test of a template: its task for every row of a labelled set, and how right the predictions are."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from assistant.batch.evaluation import Evaluation, check, evaluate
from assistant.batch.rows import rows
from assistant.batch.run import Batch
from assistant.errors import AssistantError
from assistant.store.template_tests import TemplateTest
from assistant.tasks import Task
from prompts.template import Template

Progress = Callable[[int, int], None]
"""(rows that are done, of how many)"""


def set_beside(template: Template) -> Path:
    """The labelled set of a template. Raises `AssistantError` where there is none."""
    beside = template.path.with_suffix(".jsonl") if template.path else None
    if beside is None or not beside.is_file():
        raise AssistantError("There is no labelled set beside this template. Name one: --data FILE.")
    return beside


async def run(task: Task, source: Path, calibration: str, progress: Progress) -> tuple[TemplateTest, Evaluation]:
    """The test, not kept yet. `calibration` "" chooses by the number of rows.

    Raises `InputUnreadable` before anything is asked, where a row lacks its truth.
    """
    template = task.template
    check(template, rows(source), str(source))
    with TemporaryDirectory() as folder:
        batch = Batch(task, source, calibration, Path(folder) / "journal")
        await batch.ask(lambda done: progress(done, batch.total))
        predicted = list(await batch.predictions())
    evaluation = await asyncio.to_thread(evaluate, template, predicted, task.column)
    how = {"calibration": batch.method, "values": dict(task.values), "sampling": task.sampling.as_dict()}
    what = (template.name, template.hash, task.model, task.adapter, how, source.name, batch.digest)
    report = {**evaluation.report, "calibration": batch.method, "failed": batch.failed}
    return TemplateTest(*what, evaluation.main, evaluation.values, report, text=template.text), evaluation
