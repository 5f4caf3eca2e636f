"""A template run on one input, and tested on a labelled set."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message
from textual.widget import Widget
from textual.widgets import TextArea
from textual.worker import Worker

from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.store import template_tests
from assistant.store.template_tests import TemplateTest
from assistant.tui.background import errors_shown, in_background
from assistant.tui.clock import Now
from assistant.tui.dialogs.form import Field, FormScreen
from assistant.tui.dialogs.inputs import fields, given
from assistant.tui.prompts import answers, results
from assistant.tui.prompts.files import TemplateFile
from assistant.tui.prompts.results import Going, Measured
from assistant.tui.prompts.trial import Trial, first
from assistant.tui.widgets.page import Blocks
from assistant.tui.widgets.rows import Row, plain_rows
from prompts.sandbox import INPUT
from prompts.template import Template

if TYPE_CHECKING:
    from assistant.tasks.task import Task
    from assistant.tui.logs import Logs

TestKey = tuple[str, int]
"""A template's name, and when it was tested."""
PROGRESS_EVERY_S = 0.2
NOT_RUN = "Not run yet. r asks for the inputs, and runs it."


class Trying:
    """One run or test at a time. It goes on while other templates, or the chat, are shown."""

    class Given(Message):
        """The reader has filled in what a template is tried with."""

    class AnswerCame(Message):
        """There is an answer to show."""

    class TestsChanged(Message):
        """A test goes on, has ended, or was read."""

    class Busy(Message):
        """A run or a test has begun or ended; `Trying.state` says which."""

    def __init__(self, widget: Widget, logs: "Logs", now: Now) -> None:
        self._widget = widget
        self._logs = logs
        self._now = now
        self.state = ""
        """What is being done, in words; empty for nothing."""
        self._asking: Worker[None] | None = None
        self._trials: dict[Path, Trial] = {}
        self._answers: dict[Path, Sequence[Blocks]] = {}
        self._going: dict[Path, Going] = {}
        self._tests: dict[str, Sequence[TemplateTest]] = {}
        """By the template's name, as far as they were read."""
        self._measured: dict[TestKey, Measured] = {}

    def trial(self, path: Path, template: Template) -> Trial:
        """What a template is tried with: what was given last, else something of its own."""
        if path not in self._trials:
            self._trials[path] = first(template)
        return self._trials[path].of(template)

    def stop(self) -> None:
        """Stop the run or the test."""
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self, state: str, work: Callable[[], Awaitable[None]]) -> None:
        async def ask() -> None:
            try:
                with errors_shown(self._widget):
                    await work()
            finally:
                self._asking, self.state = None, ""
                self._going.clear()
                self._widget.post_message(self.Busy())

        self.state = state
        self._asking = self._widget.run_worker(ask(), group="asking")
        self._widget.post_message(self.Busy())

    async def task(self, template: Template, trial: Trial | None = None) -> "Task":
        """What asks the model. Raises `AssistantError` where there is no model."""
        from assistant.tasks.task import Task, task_sampling

        model, log = self._logs.model(), self._logs.saved
        if not model:
            raise AssistantError("There is no model yet. Choose one with F4 in the chat.")
        sampling = task_sampling(template, self._logs.settings.sampling)
        speaker = await log.worker.ask(lambda _: log.speaker(model, None))
        return Task(self._logs.client, template, model, speaker, sampling, trial.values if trial else {})

    # --- one input

    def run(self, path: Path, template: Template) -> None:
        """Ask for the inputs, and run it."""

        def filled_in(trial: Trial | None) -> None:
            if trial is not None:
                self._trials[path] = trial
                self._widget.post_message(self.Given())
                self._ask("asking the model", lambda: self._run(path, template, trial))

        before = self.trial(path, template)
        shown = Trial(before.said, {name: text for name, text in before.values.items() if text != f"‹{name}›"})
        self._widget.app.push_screen(run_form(template, shown), filled_in)

    async def _run(self, path: Path, template: Template, trial: Trial) -> None:
        from assistant.tasks.task import default_calibration

        task = await self.task(template, trial)
        row = {INPUT: trial.said}
        outcome = await task.ask(row)
        calibrations = await task.calibration(default_calibration(1), [outcome])
        self._answers[path] = answers.entries(template, trial, task.predict(row, outcome, calibrations))
        self._widget.post_message(self.AnswerCame())

    def answer(self, path: Path) -> Sequence[Blocks]:
        """The last answer of a template."""
        return self._answers.get(path) or [Blocks(_quiet(NOT_RUN))]

    # --- a labelled set

    def test(self, path: Path, template: Template) -> None:
        """Test it on the set beside it, or on one that is asked for."""
        from assistant.tasks.testing import set_beside

        def chosen(source: Path | None) -> None:
            if source is not None:
                self._going[path] = Going()
                self._ask(f"testing {template.name}", lambda: self._test(path, template, source))
                self._widget.post_message(self.TestsChanged())

        try:
            chosen(set_beside(template))
        except AssistantError:
            self._widget.app.push_screen(set_form(), chosen)

    async def _test(self, path: Path, template: Template, source: Path) -> None:
        from assistant.tasks import testing

        began_s = shown_s = monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal shown_s
            self._going[path] = Going(done, total, monotonic() - began_s)
            if monotonic() - shown_s > PROGRESS_EVERY_S:
                shown_s = monotonic()
                self._widget.post_message(self.TestsChanged())

        test, _ = await testing.run(await self.task(template), source, "", progress)
        await self._logs.saved.worker.act(lambda db: template_tests.add(db, test))
        await self._read(template.name)

    def read_tests(self, name: str) -> None:
        """Read the tests of a template, and compare the newest with the one before."""
        in_background(self._widget, lambda: self._read(name), "tests", exclusive=True)

    async def _read(self, name: str) -> None:
        worker = self._logs.saved.worker
        tests = await worker.ask(lambda db: template_tests.of(db, name, results.TESTS_SHOWN))
        self._tests[name] = tests
        self._widget.post_message(self.TestsChanged())
        if tests and _key(tests[0]) not in self._measured:
            before = await worker.ask(lambda db: template_tests.earlier(db, tests[0]))
            zone = self._now().tzinfo
            self._measured[_key(tests[0])] = await asyncio.to_thread(results.measure, tests[0], before, zone)
            self._widget.post_message(self.TestsChanged())

    def tests(self, file: TemplateFile, shown_hash: str) -> Sequence[Blocks]:
        """The tests of a template, as far as they were read. `shown_hash`: of the text that is shown."""
        tests = self._tests.get(file.name)
        if tests is None:
            return []
        measured = self._measured.get(_key(tests[0])) if tests else None
        going = self._going.get(file.path)
        return results.entries(tests, shown_hash, self._now(), going=going, measured=measured)


def run_form(template: Template, trial: Trial) -> FormScreen[Trial]:
    """The result is what to run a template with: the person's turn, of several lines, and the inputs."""
    said = TextArea(printable(trial.said), soft_wrap=True, placeholder="the input")

    def read(typed: dict[str, str]) -> Trial:
        return Trial(said.text, given(template, typed))

    heading, hint = f"Run {template.name}", "tab next field · ctrl+g run · esc cancel"
    return FormScreen(heading, template.description, fields(template, trial.values), read, text=said, hint=hint)


def set_form() -> FormScreen[Path]:
    """The result is the file of a labelled set."""

    def read(typed: dict[str, str]) -> Path:
        if not typed["path"].strip():
            raise AssistantError("The path is empty. Type where the labelled set is.")
        path = Path(typed["path"].strip()).expanduser()
        if not path.is_file():
            raise AssistantError(f"There is no file {path}.")
        return path

    field = Field("path", "file", "a .jsonl or .csv file: input, and label or reference")
    return FormScreen("Test on", "There is no labelled set beside this template.", [field], read)


def _key(test: TemplateTest) -> TestKey:
    return test.template, test.done_ms


def _quiet(text: str) -> list[Row]:
    return [Row(row.content.stylize(".quiet")) for row in plain_rows(text)]
