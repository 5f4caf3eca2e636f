"""A template's task with and without an adapter, on the same labelled rows."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from assistant.tasks import testing
from assistant.tasks.task import Task
from finetune.prove.measure import Measure, share
from prompts.template import Template

TaskWith = Callable[[str], AbstractAsyncContextManager[Task]]
"""The task with the named adapter; with an empty name, of the base."""


async def measured(template: Template, source: Path, task_with: TaskWith, adapter: str, seed: int = 0) -> Measure:
    """The template's main measure; each item is a group. Raises `InputUnreadable` for a bad labelled set."""
    found = []
    for name in ("", adapter):
        async with task_with(name) as task:
            test, _ = await testing.run(task, source, "", lambda *_: None)
            found.append(test)
    base, adapted = (one.values for one in found)
    name = f"{template.name} {found[0].main.replace('_', ' ')}"
    return share(f"task {template.name}", name, base, adapted, range(len(base)), seed=seed)
