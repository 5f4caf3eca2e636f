"""A template run on one input, and tested on a labelled set."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from textual.worker import Worker

from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.store import template_tests
from assistant.store.template_tests import TemplateTest
from assistant.tui.dialogs.form import Field, FormScreen
from assistant.tui.dialogs.inputs import TryScreen
from assistant.tui.prompts import answers, results
from assistant.tui.prompts.files import TemplateFile
from assistant.tui.prompts.results import Going, Measured
from assistant.tui.prompts.shown_template import ShownTemplate
from assistant.tui.prompts.trial import Trial
from assistant.tui.widgets.page import Blocks
from assistant.tui.widgets.rows import Row, plain_rows
from assistant.tui.widgets.status_line import StatusLine
from prompts.errors import PromptError
from prompts.sandbox import INPUT
from prompts.template import Template

if TYPE_CHECKING:
    from assistant.tasks.task import Task

TestKey = tuple[str, int]
"""A template's name, and when it was tested."""
PROGRESS_EVERY_S = 0.2
NOT_RUN = "Not run yet. r asks for the inputs, and runs it."


class SetScreen(FormScreen[Path]):
    """The result is the file of a labelled set."""

    def __init__(self) -> None:
        fields = [Field("path", "file", "a .jsonl or .csv file: input, and label or reference")]
        super().__init__("Test on", "There is no labelled set beside this template.", fields)

    def result(self, typed: dict[str, str]) -> Path:
        if not typed["path"].strip():
            raise AssistantError("The path is empty. Type where the labelled set lies.")
        path = Path(typed["path"].strip()).expanduser()
        if not path.is_file():
            raise AssistantError(f"There is no file {path}.")
        return path


class TriedTemplate(ShownTemplate):
    """One run or test at a time. It goes on while other templates, or the chat, are shown."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._asking: Worker[None] | None = None
        self._answers: dict[Path, Sequence[Blocks]] = {}
        self._going: dict[Path, Going] = {}
        self._measured: dict[TestKey, Measured] = {}

    @property
    def asking(self) -> bool:
        return self._asking is not None

    def action_stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self, state: str, work: Callable[[], Awaitable[None]]) -> None:
        async def told() -> None:
            try:
                await work()
            except (AssistantError, PromptError) as error:
                self.notify(printable(str(error)), severity="error", markup=False, timeout=10)
            finally:
                self._asking = None
                self._going.clear()
                self.query_one(StatusLine).state = ""
                self.show_tab()
                self.refresh_bindings()

        self.query_one(StatusLine).state = state
        self._asking = self.run_worker(told(), group="asking")
        self.refresh_bindings()

    def _asked(self, template: Template, trial: Trial | None = None) -> "Task":
        """Raises `AssistantError` where there is no model."""
        from assistant.tasks.task import Task, task_sampling

        model = self._logs.model()
        if not model:
            raise AssistantError("There is no model yet. Choose one with F4 in the chat.")
        sampling = task_sampling(template, self._logs.settings.sampling)
        speaker = self._logs.saved.speaker(model, None)
        return Task(self._logs.client, template, model, speaker, sampling, trial.values if trial else {})

    # --- one input

    def action_try_it(self) -> None:
        """Ask for the inputs, and run it."""
        template, file = self.template, self.file
        if template is None or file is None:
            return

        def filled_in(trial: Trial | None) -> None:
            if trial is not None:
                self._trials[file.path] = trial
                self.check_text()
                self._ask("asking the model", lambda: self._run(file.path, template, trial))

        given = self.trial(template)
        shown = Trial(given.said, {name: text for name, text in given.values.items() if text != f"‹{name}›"})
        self.app.push_screen(TryScreen(template, shown), filled_in)

    async def _run(self, path: Path, template: Template, trial: Trial) -> None:
        from assistant.tasks.task import default_calibration

        task = self._asked(template, trial)
        row = {INPUT: trial.said}
        outcome = await task.ask(row)
        calibrations = await task.calibration(default_calibration(1), [outcome])
        self._answers[path] = answers.entries(template, trial, task.predict(row, outcome, calibrations))
        self.tab = "answer"

    # --- a labelled set

    def action_test(self) -> None:
        """Test it on the set beside it, or on one that is asked for."""
        from assistant.tasks.testing import set_beside

        template, file = self.template, self.file
        if template is None or file is None:
            return

        def chosen(source: Path | None) -> None:
            if source is not None:
                self.tab = "tests"
                self._going[file.path] = Going()
                self._ask(f"testing {template.name}", lambda: self._test(file.path, template, source))
                self.show_tab()

        try:
            chosen(set_beside(template))
        except AssistantError:
            self.app.push_screen(SetScreen(), chosen)

    async def _test(self, path: Path, template: Template, source: Path) -> None:
        from assistant.tasks import testing

        began_s = shown_s = monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal shown_s
            self._going[path] = Going(done, total, monotonic() - began_s)
            if self.tab == "tests" and monotonic() - shown_s > PROGRESS_EVERY_S:
                shown_s = monotonic()
                self.show_tab()

        test, _ = await testing.run(self._asked(template), source, "", progress)
        template_tests.add(self._logs.saved.db, test)

    def tab_entries(self) -> tuple[Sequence[Blocks], str]:
        if self.file is None:
            return super().tab_entries()
        if self.tab == "answer":
            return self._answers.get(self.file.path) or [Blocks(_quiet(NOT_RUN))], ""
        if self.tab == "tests":
            return self._results(self.file), ""
        return super().tab_entries()

    def _results(self, file: TemplateFile) -> Sequence[Blocks]:
        tests = template_tests.of(self._logs.saved.db, file.name, results.TESTS_SHOWN)
        measured = self._measured.get(_key(tests[0])) if tests else None
        if tests and measured is None:
            self.run_worker(self._measure(tests[0]), group="measure", exclusive=True)
        shown_hash = self.template.hash if self.template else ""
        going = self._going.get(file.path)
        return results.entries(tests, shown_hash, self._now(), going=going, measured=measured)

    async def _measure(self, test: TemplateTest) -> None:
        before = template_tests.earlier(self._logs.saved.db, test)
        self._measured[_key(test)] = await asyncio.to_thread(results.measure, test, before, self._now().tzinfo)
        if self.tab == "tests":
            self.show_tab()


def _key(test: TemplateTest) -> TestKey:
    return test.template, test.done_ms


def _quiet(text: str) -> list[Row]:
    return [Row(row.content.stylize(".quiet")) for row in plain_rows(text)]
