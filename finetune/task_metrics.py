"""How well a model does a template's task with an adapter and without, on the same labelled rows."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

from assistant.batch.evaluation import check, evaluate
from assistant.batch.rows import rows
from assistant.batch.run import Batch
from assistant.tasks import Task
from finetune.measure import Measure, share
from prompts.template import Template

TaskWith = Callable[[str], AbstractAsyncContextManager[Task]]
"""The task with the adapter of that name; with an empty one, by the base alone."""


async def measured(template: Template, source: Path, task_with: TaskWith, adapter: str, seed: int = 0) -> Measure:
    """The template's main measure, an item of the set being a group. Raises `InputUnreadable` for a bad set."""
    check(template, rows(source), str(source))
    found = []
    for name in ("", adapter):
        async with task_with(name) as task:
            with TemporaryDirectory() as folder:
                batch = Batch(task, source, "", Path(folder) / "journal")
                await batch.ask(lambda _: None)
                found.append(evaluate(template, list(await batch.predictions()), task.column))
    base, adapted = (one.values for one in found)
    name = f"{template.name} {found[0].main.replace('_', ' ')}"
    return share(f"task {template.name}", name, base, adapted, range(len(base)), seed=seed)
