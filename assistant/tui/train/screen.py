"""Training: the data, the method and the time; what that will take; and the trainings so far."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker

from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.store.database import changes_elsewhere, open_database
from assistant.tui import keys
from assistant.tui.background import every, in_background
from assistant.tui.dialogs.pick import Choice, PickScreen
from assistant.tui.jobs import commands
from assistant.tui.jobs.job import Job
from assistant.tui.jobs.watch import Watch
from assistant.tui.log_worker import LogWorker
from assistant.tui.train import history, preparation, setup_rows
from assistant.tui.train.choices import budget_dialog, choose_method, choose_source, choose_start
from assistant.tui.train.edge_list import EdgeList
from assistant.tui.train.history import History
from assistant.tui.train.setup import JUDGED_WELL, Setup, Source, of_filter
from assistant.tui.training import proof, record, words
from assistant.tui.training.screen import TrainingScreen
from assistant.tui.widgets.status_line import StatusLine
from assistant.tui.window import Window
from finetune.lineage import lineage

if TYPE_CHECKING:
    from sqlite_utils import Database

    from finetune.progress import Progress

LOOK_EVERY_S = 0.5
ABOUT = (
    "The model is trained on the replies below, then compared with the model before on replies that were held out. "
    "You can go on chatting."
)
NO_RUNS = "No training yet."


class TrainScreen(Screen[None]):
    """Keeps the choices until the program ends. A training that runs is shown as soon as the screen is."""

    BINDINGS: ClassVar[list[BindingType]] = keys.TRAIN
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#setup"

    def __init__(self, window: Window) -> None:
        super().__init__()
        self._window = window
        self._logs = logs = window.logs
        self._replies = window.chat.replies
        self._now = window.now
        self._reader = LogWorker(partial(open_database, logs.paths.database))
        self._setup = Setup(logs.model_to_train())
        self._chosen = False
        """The reader has chosen what to learn from."""
        self._history = History()
        self._watch = Watch(Job(logs.paths, "train"))
        self._counts = ""
        """What the data takes of the log and what not, in words."""
        self._expectation = ""
        """About what the training takes, as soon as it is estimated."""
        self._working = ""
        """Progress of the dataset or the plan that is being made; empty where none is."""
        self._training = ""
        """Progress of the training that runs; empty where none does."""
        self._opening = False
        """A training was started, and is shown as soon as it has a name."""
        self._ended = ""
        """Name of a run that ended while another screen was shown."""
        self._seen: object = None
        """The state of the log that is shown, and which run is trained."""

    def compose(self) -> ComposeResult:
        with Vertical(id="train"):
            yield Static("Train", classes="heading")
            yield Static(ABOUT, classes="quiet", id="about")
            yield EdgeList(id="setup")
            yield Static("", id="problem", classes="problem", markup=False)
            yield Static("", id="banner", markup=False)
            yield Static(NO_RUNS, id="columns", classes="quiet")
            yield EdgeList(id="runs")
            yield Static("", id="details", classes="quiet", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        self._show_setup()
        in_background(self, self._first_look)
        every(self, LOOK_EVERY_S, self._look)

    async def _first_look(self) -> None:
        await self._look()
        if self._history.alive:
            self._open_run(self._history.alive)
        else:
            self._opening = self._watch.running

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        """Show a run that ended meanwhile; count again, as replies may have been judged."""
        ended, self._ended = self._ended, ""
        if ended:
            self._open_run(ended)
        else:
            self._count()

    async def close(self) -> None:
        """Give the log back; the screen is not used after this. A training goes on."""
        await self._reader.close()

    @property
    def _shown_in_log(self) -> Source:
        """What the Log screen shows now, as a source to learn from."""
        return of_filter(*self._window.shown_filter) if self._window.shown_filter else JUDGED_WELL

    def learn_from_log(self) -> None:
        """Choose what the Log screen shows now."""
        self._choose(self._shown_in_log)

    # --- the job and the log

    async def _look(self) -> None:
        """Show what the training and other windows have done."""
        before, shown = self._watch.running, (self._history.better, self._setup.in_use)
        self._watch.look()
        if self._reader.closed:  # the program is at its end
            return
        await self._reader.ask(self._read)
        if not self.is_attached:
            return
        if before and not self._watch.running:
            self._tell_end()
        self._show_runs()
        if shown != (self._history.better, self._setup.in_use):
            self._show_setup()
        name = self._watch.run or self._history.alive
        if self._opening and self._history.find(name):
            self._opening = False
            if self.is_current:
                self._open_run(name)

    def _read(self, db: "Database") -> None:
        """Read the history again where something has changed."""
        seen = changes_elsewhere(db), record.alive(db, self._logs.paths, self._watch.alive)
        if seen != self._seen:
            self._history = history.read(db, self._setup.model, seen[1])
            in_use = lineage.to_go_on_from(db, self._logs.paths, self._setup.model)
            if in_use != self._setup.in_use:
                self._setup = self._setup.changed(in_use=in_use, from_base=False)
            self._seen = seen

    def _tell_end(self) -> None:
        name = self._watch.run
        if not name:  # it failed before it had a name
            self._opening = False
            self._show_problem(self._watch.failure)
        if self._opening or isinstance(self.app.screen, TrainingScreen):
            return
        self._ended = "" if self.is_current else name
        found = self._history.find(name)
        told = self._watch.failure or f"{name} has ended. F7 shows it."
        if found and found[1] and name == self._history.better:
            told = f"{proof.better(name, found[1].report)} · F7 promote"
        severity = "error" if self._watch.failure else "information"
        self.app.notify(printable(told), severity=severity, markup=False)  # type: ignore[arg-type]

    # --- what is shown

    def _show_setup(self) -> None:
        options = self.query_one("#setup", EdgeList)
        can_plan = not self._history.better  # else p promotes
        rows = setup_rows.rows(self._setup, self._counts, self._working or self._training, can_plan=can_plan)
        on = options.highlighted_option
        options.clear_options()
        options.add_options([Option(row, id=action) for action, row in rows])
        actions = [action for action, _ in rows]
        options.highlighted = actions.index(on.id) if on and on.id in actions else len(rows) - 1
        self.refresh_bindings()

    def _show_runs(self) -> None:
        heading, lines = history.lines(self._history, self._now())
        options = self.query_one("#runs", EdgeList)
        at = options.highlighted
        if [str(option.prompt) for option in options.options] != [str(line) for line in lines]:
            options.clear_options()
            options.add_options([Option(line) for line in lines])
            options.highlighted = None if not lines else min(at or 0, len(lines) - 1)
        self.query_one("#columns", Static).update(heading if lines else NO_RUNS)
        options.display = bool(lines)
        self._show_details()
        self._show_banner()
        self._show_running()
        self.refresh_bindings()

    def _show_running(self) -> None:
        """Say how far the training is, in place of how to start one."""
        running = ""
        if self._watch.running:
            running = " · ".join([self._watch.run or "starting", *words.progress(self._watch.course)[:3]])
        if running != self._training:
            self._training = running
            self._show_setup()

    def _show_banner(self) -> None:
        found = self._history.find(self._history.better)
        told = f"{proof.better(found[0].name, found[1].report)} · p promote" if found and found[1] else ""
        self.query_one("#banner", Static).update(printable(told, newlines=False))
        self.query_one("#banner", Static).display = bool(told)

    @on(OptionList.OptionHighlighted, "#runs")
    def _show_details(self) -> None:
        at = self.query_one("#runs", EdgeList).highlighted
        told = "" if at is None or at >= len(self._history.runs) else history.details(self._history, at)
        self.query_one("#details", Static).update(printable(told, newlines=False))

    def _show_problem(self, text: str) -> None:
        self.query_one("#problem", Static).update(printable(text))
        self.set_class(bool(text), "-problem")

    @on(EdgeList.Left)
    def _go_between_lists(self, event: EdgeList.Left) -> None:
        """Down from the settings leads to the trainings, up from there back."""
        setup, trainings = self.query_one("#setup", EdgeList), self.query_one("#runs", EdgeList)
        if event.options is setup and event.step > 0 and trainings.option_count:
            trainings.focus()
            trainings.highlighted = 0
        elif event.options is trainings and event.step < 0:
            setup.focus()
            setup.highlighted = setup.option_count - 1

    # --- the choices

    def _change(self, **changes: object) -> None:
        self._set(self._setup.changed(**changes))

    def _set(self, setup: Setup) -> None:
        self._setup = setup
        if self.is_mounted:
            self._show_problem("")
            self._show_setup()

    def _choose(self, source: Source) -> None:
        self._chosen, self._counts = True, ""
        self._change(source=source)
        if self.is_mounted:
            self._count()

    def _count(self) -> None:
        """Say what the data takes of the log and what not, without holding up the screen."""
        if not self._working:
            self._work(self._counted, "counting")

    async def _counted(self) -> None:
        paths, before = self._logs.paths, self._setup
        source, self._counts = await preparation.counted(paths, self._reader, before, chosen=self._chosen)
        if source != before.source:
            self._change(source=source)
        if self.is_attached:
            self._show_setup()

    @on(OptionList.OptionSelected, "#setup")
    async def _row_chosen(self, event: OptionList.OptionSelected) -> None:
        action = event.option_id
        if action and self.check_action(action, ()):
            await self.run_action(f"screen.{action}")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        match action:
            case "stop_planning":
                return bool(self._working)
            case "start":
                free = not self._watch.running and not self._history.alive
                return bool(self._setup.model) and free and not self._working
            case "plan":
                return bool(self._setup.model) and self._setup.planned is None and not self._working
            case "data" | "method" | "time" | "model":
                return not self._working
            case "start_from":
                return bool(self._setup.in_use) and not self._working
            case "promote":
                return bool(self._history.better)
            case "roll_back":
                return bool(self._history.in_use)
        return True

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_data(self) -> None:
        choose_source(self.app, self._history.datasets, self._shown_in_log, self._now, self._choose)

    def action_method(self) -> None:
        choose_method(self.app, self._setup.config, lambda config: self._set(self._setup.with_settings(config)))

    def action_start_from(self) -> None:
        choose_start(self.app, self._setup, lambda from_base: self._change(from_base=from_base))

    def action_time(self) -> None:
        def chosen(minutes: str | None) -> None:
            if minutes is not None:
                self._change(config=replace(self._setup.config, budget_minutes=float(minutes)))

        self.app.push_screen(budget_dialog(self._setup.config.budget_minutes), chosen)

    def action_model(self) -> None:
        def chosen(name: str | None) -> None:
            if name is not None:
                self._seen = None  # the adapter in use is another model's now
                self._change(model=name)

        here = [Choice(name, name) for name in self._logs.local_models()]
        self.app.push_screen(PickScreen("Model to train", here, current=self._setup.model), chosen)

    # --- plan, start, roll back

    def action_plan(self) -> None:
        """Freeze the data, and ask what the training would take."""

        async def plan() -> None:
            planned = await commands.plan(self._logs.paths, self._setup.train_arguments(), self._say)
            self._setup = replace(self._setup, planned=planned)

        self._prepare(plan)

    def action_start(self) -> None:
        """Freeze the data, train on it, and prove the result; the run is shown as soon as it has a name."""

        async def start() -> None:
            self._watch.start([*self._setup.train_arguments(), "--prove", "--json"])
            self._opening = True
            self.query_one(StatusLine).tell("starting")

        self._prepare(start)

    def action_stop_planning(self) -> None:
        self.workers.cancel_group(self, "planning")

    def _prepare(self, then: Callable[[], Awaitable[None]]) -> None:
        """Freeze the data where it isn't, and go on."""

        async def prepare() -> None:
            try:
                source = await preparation.frozen(self._logs.paths, self._reader, self._setup, self._say)
                self._setup = replace(self._setup, source=source)
                await then()
            finally:
                self._working = ""
                if self.is_attached:  # the program may be at its end
                    self._show_setup()

        self.workers.cancel_group(self, "counting")
        self._expectation, self._working = "", "starting"
        self._show_problem("")
        self._show_setup()
        self._work(prepare, "planning")

    def _say(self, progress: "Progress") -> None:
        if told := words.expected(progress):
            self._expectation = f"{told} · "
        if told := words.advanced(progress):
            self._working = self._expectation + told
            self._show_setup()

    def action_roll_back(self) -> None:
        """Use what was in use before the last promotion."""

        async def roll_back() -> None:
            await commands.run(self._logs.paths, ["rollback", "--model", self._setup.model])
            self._seen = None
            self.query_one(StatusLine).tell("rolled back")

        self._work(roll_back, "rolling back")

    def _work(self, work: Callable[[], Awaitable[None]], group: str) -> None:
        async def told() -> None:
            try:
                await work()
            except AssistantError as error:
                self._show_problem(str(error))

        _: Worker[None] = self.run_worker(told, group=group, exclusive=True)

    # --- one training

    @on(OptionList.OptionSelected, "#runs")
    def _run_chosen(self, event: OptionList.OptionSelected) -> None:
        self._open_run(self._history.runs[event.option_index].name)

    def action_promote(self) -> None:
        """Show the run that is proved better, and promote it."""
        self._open_run(self._history.better, promote=True)

    def _open_run(self, name: str, *, promote: bool = False) -> None:
        def left(_: None) -> None:
            self._seen = None

        screen = TrainingScreen(self._logs, self._reader, self._replies, self._watch, name, promote=promote)
        self.app.push_screen(screen, left)


# --- the room


def screen(window: Window) -> TrainScreen:
    """The next training and those so far."""
    return TrainScreen(window)
