"""One training: its course, its proof, and what to do with the adapter it made."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import Worker

from assistant.errors import AssistantError, TrainingError
from assistant.safe_text import printable
from assistant.store.database import changes_elsewhere
from assistant.tui import keys
from assistant.tui.background import errors_shown, every, in_background
from assistant.tui.dialogs.ask import AskScreen
from assistant.tui.dialogs.pick import Choice
from assistant.tui.jobs import commands
from assistant.tui.jobs.course import Course
from assistant.tui.jobs.job import Job
from assistant.tui.jobs.watch import Watch
from assistant.tui.log_worker import LogWorker
from assistant.tui.training import facts, promotion, proof, record, samples, words
from assistant.tui.training.loss_plot import LossPlot
from assistant.tui.training.record import Record
from assistant.tui.training.samples import Sample
from assistant.tui.training.try_adapter import try_side_by_side
from assistant.tui.widgets.status_line import StatusLine
from finetune.cli.progress_output import parts
from finetune.run_folder import PAUSE, STOP, RunFolder

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.tui.logs import Logs
    from assistant.tui.replies import Replies
    from finetune.progress import Progress

LOOK_EVERY_S = 0.5


class TrainingScreen(Screen[None]):
    """`watch` is of the training that runs now, or ran last: this one or another."""

    BINDINGS: ClassVar[list[BindingType]] = keys.TRAINING
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#body"

    def __init__(
        self, logs: "Logs", reader: LogWorker, replies: "Replies", watch: Watch, name: str, *, promote: bool = False
    ) -> None:
        super().__init__()
        self._promote_first = promote
        """Promote as soon as the run is read."""
        self._logs = logs
        self._reader = reader
        self._replies = replies
        self._watch = watch
        self._run_name = name
        self._folder = RunFolder(logs.paths, name)
        self._evaluation = Watch(Job(logs.paths, "eval"))
        self._record: Record | None = None
        self._seen: object = None
        """The state of the log that is shown, and which run is trained."""
        self._some_training = False
        self._told_error = ""
        self._sampled = False
        """Samples are shown, or being made."""
        self._promoting = ""
        """Progress of the promotion; empty where there is none."""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="body"):
            yield Static("", id="name", classes="heading")
            yield Static("", id="banner", markup=False)
            yield Static("", id="facts")
            yield LossPlot()
            yield Static("", id="progress")
            yield Static("", id="proof")
            yield Static("", id="samples")
            yield Static("", id="problem", classes="problem", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        in_background(self, self._first_look)
        every(self, LOOK_EVERY_S, self._look)

    async def _first_look(self) -> None:
        await self._look()
        if self._promote_first and self.check_action("promote", ()):
            self.action_promote()

    # --- how it stands

    @property
    def _is_watched(self) -> bool:
        return self._watch.run == self._run_name

    @property
    def _is_running(self) -> bool:
        return self._record is not None and self._record.is_training

    @property
    def _is_evaluated(self) -> bool:
        """Whether the proof is being made."""
        return self._proving is not None

    @property
    def _proving(self) -> Watch | None:
        """The job that makes the proof: that of the training, which goes on to it, or a job of its own."""
        if self._is_watched and self._watch.is_proving:
            return self._watch
        own = self._evaluation
        return own if own.running and own.is_about(self._run_name) else None

    @property
    def _is_resumed(self) -> bool:
        """Whether it was resumed, and no step is done yet."""
        return self._watch.running and self._watch.is_about(self._run_name) and self._watch.course.ended is None

    @property
    def _course(self) -> Course:
        """What the log has, and beyond that what was said a moment ago."""
        course = Course()
        if self._record is not None:
            course.take_points(self._record.points)
            course.laid_out = int(self._record.run.config.get("shape", {}).get("steps", 0))
        if self._is_watched:
            course.join(self._watch.course)
        return course

    async def _look(self) -> None:
        self._watch.look()
        self._evaluation.look()
        if self._reader.closed:  # the program is at its end
            return
        await self._reader.ask(self._read)
        if self in self.app.screen_stack:  # it may have been left meanwhile
            self._show()

    def _read(self, db: "Database") -> None:
        """Read what there is anew where something has changed."""
        seen = changes_elsewhere(db), record.alive(db, self._logs.paths, self._watch.alive)
        if seen != self._seen:
            self._some_training = bool(seen[1])
            self._record = record.read(db, self._run_name, is_training=seen[1] == self._run_name)
            self._seen = seen

    # --- what is shown

    def _show(self) -> None:
        found, course = self._record, self._course
        assert found is not None
        self.query_one("#name", Static).update(self._heading(found))
        self.query_one("#facts", Static).update(facts.shown(found, course))
        self.query_one(LossPlot).curves = course.curves
        self.query_one(LossPlot).display = bool(course.curves.train)
        self.query_one("#progress", Static).update(" · ".join(self._progress(found, course)))
        report = found.evaluation.report if found.evaluation else None
        ready = report is not None and found.is_better and self.check_action("promote", ())
        banner = f"{proof.better(self._run_name, report)} · p promote" if report and ready else ""
        self.query_one("#banner", Static).update(printable(banner, newlines=False))
        self.query_one("#banner", Static).display = bool(banner)
        self.set_class(report is not None, "-proved")
        self.query_one("#proof", Static).update(proof.shown(report, self.size.width - 6) if report else "")
        self._show_problem(found)
        self.query_one("#samples", Static).display = self._sampled
        self.refresh_bindings()

    def _show_problem(self, found: Record) -> None:
        training = self._watch.failure if self._is_watched or self._watch.is_about(self._run_name) else ""
        proving = self._evaluation.failure if self._evaluation.is_about(self._run_name) else ""
        problem = self._told_error or proving or training or ("" if self._is_running else found.run.error)
        self.query_one("#problem", Static).update(printable(problem))
        self.query_one("#problem", Static).display = bool(problem)

    def _heading(self, found: Record) -> Content:
        line = Content(printable(self._run_name, newlines=False))
        state = found.state if not self._is_running else self._folder.wanted or "training"
        state = {PAUSE: "paused", STOP: "stopping"}.get(state, state)
        line += Content.styled(f"  {state}", "$accent not bold")
        return line + Content.styled("  in use", "$accent not bold") if found.in_use else line

    def _progress(self, found: Record, course: Course) -> list[str]:
        if self._promoting:
            return ["promoting", self._promoting]
        if (job := self._proving) is not None:
            said = job.course.advanced
            return ["proving", *(parts(said) if said else ["starting"])]
        if self._is_running or self._is_resumed:
            return words.progress(course) or ["reading the model and the data"]
        return words.outcome(found.run, course)

    # --- what can be done

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        found = self._record
        if found is None:
            return action == "leave"
        made = bool(found.adapter) and not self._is_running
        match action:
            case "pause":
                return self._is_running and not self._folder.wanted
            case "go_on":
                return self._is_running and self._folder.wanted == PAUSE
            case "stop":
                return self._is_running and self._folder.wanted != STOP
            case "resume":
                return (
                    not self._some_training
                    and not self._watch.running
                    and found.run.state in ("running", "stopped", "failed")
                )
            case "evaluate":
                free = not self._evaluation.running and not self._watch.running and not self._some_training
                return made and free
            case "stop_evaluation":
                return self._is_evaluated
            case "promote":
                return made and not found.in_use and not self._is_evaluated and not self._promoting
            case "report":
                return bool(found.points)
            case "discard":
                return made and not found.in_use and not self._is_evaluated
            case "try_it" | "samples":
                return made
        return True

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_pause(self) -> None:
        """Keep everything as it is until it goes on; the processor is free meanwhile."""
        self._want(PAUSE)

    def action_go_on(self) -> None:
        self._want("")

    def action_stop(self) -> None:
        """Stop at a checkpoint; it can go on later."""
        self._want(STOP)

    def _want(self, what: str) -> None:
        self._folder.want(what)
        in_background(self, self._look)

    def action_resume(self) -> None:
        """Go on from the last checkpoint."""
        self._told_error = ""
        self._folder.want("")
        self._watch.start(["train", "--resume", self._run_name, "--prove", "--json"])
        in_background(self, self._look)

    def action_evaluate(self) -> None:
        """Compare the adapter with the base on what neither has seen."""
        self._told_error = ""
        self._evaluation.start(["eval", self._run_name, "--json"])
        in_background(self, self._look)

    def action_stop_evaluation(self) -> None:
        if (job := self._proving) is not None:
            job.job.stop()

    def action_promote(self) -> None:
        """Use the adapter for new replies; where there are reasons not to, ask first."""
        found = self._record
        if found is None:
            return
        if found.objections:
            self.app.push_screen(promotion.question(found), self._answered)
        else:
            self._work(self._promote)

    def _answered(self, answer: str | None) -> None:
        if answer == promotion.PROVE:
            with errors_shown(self):
                self.action_evaluate()
        elif answer == promotion.ANYWAY:
            self._work(partial(self._promote, promotion.OVERRULE))

    async def _promote(self, *options: str) -> None:
        def say(progress: "Progress") -> None:
            self._promoting = words.advanced(progress) or self._promoting
            self.query_one("#progress", Static).update(f"promoting · {self._promoting}")

        self._promoting = "starting"
        try:
            await commands.run(self._logs.paths, ["promote", self._run_name, *options], say)
        finally:
            self._promoting = ""

    def action_report(self) -> None:
        """Open the report in a browser, or say where it is."""

        async def show() -> None:
            made = await commands.run(self._logs.paths, ["report", self._run_name, "--open"])
            told = "opened in the browser" if made["opened"] else f"open {made['file']} in a browser"
            self.notify(printable(f"The report: {told}."), markup=False, timeout=10)

        self._work(show, "report")

    def action_try_it(self) -> None:
        """Ask base and retrained the same, and vote without knowing which is which."""
        found = self._record
        if found is not None:
            try_side_by_side(
                self.app,
                self._logs,
                self._replies,
                model=found.run.model,
                adapter=found.adapter,
                prompt=found.prompt,
            )

    def action_samples(self) -> None:
        """Let base and retrained answer the first prompts of the held-out part."""
        self._work(self._sample, "samples")

    async def _sample(self) -> None:
        found, line = self._record, self.query_one("#samples", Static)
        assert found is not None
        asked = await self._reader.ask(lambda db: samples.prompts(db, found.run.dataset_id))
        if not asked:
            raise TrainingError("The dataset has no held-out part, or is gone. Press v and type a prompt instead.")
        self._sampled = True
        line.update("base and retrained answer held-out prompts …")
        said: list[Sample] = []
        try:
            async for one in samples.make(self._logs.client, found.run.model, found.adapter, asked):
                said.append(one)
                line.update(samples.shown(said))
        finally:
            line.update(samples.shown(said))

    def action_discard(self) -> None:
        """Delete the adapter; the run stays in the history."""

        def answered(answer: str | None) -> None:
            if answer == "discard":
                self._work(lambda: self._reader.act(lambda db: record.discard(db, self._logs.paths, self._run_name)))

        answers = [Choice("keep", "Keep it"), Choice("discard", "Discard it", "its files are deleted")]
        self.app.push_screen(AskScreen(f"Discard the adapter of {self._run_name}?", "", answers), answered)

    def _work(self, work: Callable[[], Awaitable[object]], group: str = "work") -> None:
        async def told() -> None:
            self._told_error = ""
            try:
                await work()
            except AssistantError as error:
                self._told_error = str(error)
            self._seen = None
            await self._look()

        _: Worker[None] = self.run_worker(told, group=group, exclusive=True)
