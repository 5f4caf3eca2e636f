"""What is kept of tests of templates: the one before this one, and the calibration that one fitted."""

from typing import TYPE_CHECKING, Any

from assistant.cli.opened_log import opened_log
from assistant.cli.shot_options import asked_for
from assistant.errors import AssistantError

if TYPE_CHECKING:
    from assistant.store.template_tests import TemplateTest
    from assistant.tasks.comparison import Comparison
    from assistant.tasks.task import Task
    from prompts.labels import Calibration


def keep(result: "TemplateTest") -> "Comparison | None":
    """The difference to the last test with something else, over the same rows in pairs; None where there is none."""
    from assistant.store import template_tests
    from assistant.tasks.comparison import compare

    with opened_log() as db:
        before = template_tests.earlier(db, result)
        template_tests.add(db, result)
    return compare(result, before) if before else None


def fitted_calibration(task: "Task", options: dict[str, Any]) -> "list[Calibration]":
    """The one that a test of the template fitted, where the options ask for it; else none.

    Raises `AssistantError` where no test did.
    """
    from assistant.store import template_tests
    from assistant.tasks.fitted import from_json
    from assistant.tasks.testing import FITTED, settings_of

    if options["calibration"] != FITTED:
        return []
    how, name = settings_of(task, asked_for(options)), task.template.name
    with opened_log() as db:
        kept = template_tests.fitted(db, task.template.hash, task.model, task.adapter, how)
    if not kept:
        raise AssistantError(
            f"No calibration is fitted for {name} with this model and these examples. "
            f"First: assistant prompts test {name} --data FILE --calibration fitted"
        )
    return from_json(kept)
