"""Training: what is learned, how and how long; what that will take; and the trainings so far."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker

from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.store.database import changes_elsewhere
from assistant.tui import keys
from assistant.tui.clock import Now
from assistant.tui.log_reader import LogReader
from assistant.tui.screens.pick import Choice, PickScreen
from assistant.tui.screens.train_choices import BudgetScreen, about, choose_method, choose_source
from assistant.tui.screens.training import TrainingScreen
from assistant.tui.told_errors import TellsErrors
from assistant.tui.training import commands, history, record, words
from assistant.tui.training.history import History
from assistant.tui.training.job import Job
from assistant.tui.training.setup import JUDGED_WELL, Setup, Source, free_name, of_filter
from assistant.tui.training.watch import Watch
from assistant.tui.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.filter import Filter
    from assistant.tui.logs import Logs
    from assistant.tui.replies import Replies

LOOK_EVERY_S = 0.5
ABOUT = (
    "The model learns from what you thought well of, and is compared with what it was on a part that it never saw. "
    "The chat goes on meanwhile."
)
NO_RUNS = "No training yet. p says what one would take, s starts it."
_LABEL_CELLS = 13


class TrainScreen(TellsErrors, Screen[None]):
    """Keeps what is chosen until the program ends. A training that runs is shown as soon as the screen is."""

    BINDINGS: ClassVar[list[BindingType]] = keys.TRAIN
    CSS_PATH = "train.tcss"
    AUTO_FOCUS = "#setup"

    def __init__(self, logs: "Logs", replies: "Replies", *, now: Now) -> None:
        super().__init__()
        self._logs = logs
        self._replies = replies
        self._now = now
        self._reader = LogReader(logs.paths.database)
        self._setup = Setup(logs.model_to_train())
        self._shown_in_log = JUDGED_WELL
        self._history = History()
        self._watch = Watch(Job(logs.paths, "train"))
        self._planning = False
        self._opening = False
        """A training was started, and is shown as soon as it has a name."""
        self._seen: object = None
        """The state of the log that is shown, and which run is trained."""

    def compose(self) -> ComposeResult:
        with Vertical(id="train"):
            yield Static("Train", classes="heading")
            yield Static(ABOUT, classes="quiet", id="about")
            yield OptionList(id="setup")
            yield Static("", id="problem", classes="problem", markup=False)
            yield Static(NO_RUNS, id="columns", classes="quiet")
            yield OptionList(id="runs")
            yield Static("", id="details", classes="quiet", markup=False)
        yield StatusLine()

    async def on_mount(self) -> None:
        self._show_setup()
        await self._look()
        if self._history.alive:
            self._open_run(self._history.alive)
        else:
            self._opening = self._watch.running
        self.set_interval(LOOK_EVERY_S, self._look)

    async def close(self) -> None:
        """Give the log back; the screen is not used after this. A training goes on."""
        await self._reader.close()

    def take_filter(self, typed: str, filter_: "Filter") -> None:
        """What the Log screen shows now: it can be learned from."""
        self._shown_in_log = of_filter(typed, filter_)

    def learn_from_log(self) -> None:
        """Choose what the Log screen shows now."""
        self._change(source=self._shown_in_log)

    # --- what is going on

    async def _look(self) -> None:
        """Show what the training and other windows have done."""
        before = self._watch.running
        self._watch.look()
        if before and not self._watch.running:
            self._tell_end()
        if self._reader.closed:  # the program is at its end
            return
        await self._reader.ask(self._read)
        if not self.is_attached:
            return
        self._show_runs()
        if self._opening and self._watch.run in {one.name for one in self._history.runs}:
            self._opening = False
            if self.is_current:
                self._open_run(self._watch.run)

    def _read(self, db: "Database") -> None:
        """Read what there is anew where something has changed."""
        seen = changes_elsewhere(db), record.alive(db, self._logs.paths, self._watch.alive)
        if seen != self._seen:
            self._history = history.read(db, self._setup.model, seen[1])
            self._seen = seen

    def _tell_end(self) -> None:
        if not self._watch.run:  # it failed before it had a name
            self._opening = False
            self._show_problem(self._watch.failure)
        if self._opening:
            return
        if not isinstance(self.app.screen, TrainingScreen):
            told = self._watch.failure or f"The training {self._watch.run} has ended."
            self.app.notify(printable(told), severity="error" if self._watch.failure else "information", markup=False)

    # --- what is shown

    def _show_setup(self) -> None:
        setup, options = self._setup, self.query_one("#setup", OptionList)
        planned = "not made yet: enter makes it"
        if self._planning:
            planned = "being made …"
        elif setup.planned:
            parts = words.plan(setup.planned, setup.config).split(" · ")
            planned = " · ".join(parts[:3]) + "\n" + " · ".join([*parts[3:], "enter starts it"])
        rows = (
            ("model", setup.model or "none on this machine yet: leave with esc, and pull one with f4"),
            ("learn from", setup.source.about),
            ("method", words.method(setup.config)),
            ("time", words.budget(setup.config)),
            ("plan", planned),
        )
        at = options.highlighted
        options.clear_options()
        options.add_options([Option(_labelled(label, said)) for label, said in rows])
        options.highlighted = len(rows) - 1 if at is None else at
        self.refresh_bindings()

    def _show_runs(self) -> None:
        heading, lines = history.lines(self._history, self._now())
        options = self.query_one("#runs", OptionList)
        at = options.highlighted
        if [str(option.prompt) for option in options.options] != [str(line) for line in lines]:
            options.clear_options()
            options.add_options([Option(line) for line in lines])
            options.highlighted = None if not lines else min(at or 0, len(lines) - 1)
        self.query_one("#columns", Static).update(heading if lines else NO_RUNS)
        options.display = bool(lines)
        self._show_details()
        self.query_one(StatusLine).state = (
            " · ".join(words.progress(self._watch.course)[:3]) if self._watch.running else ""
        )
        self.refresh_bindings()

    @on(OptionList.OptionHighlighted, "#runs")
    def _show_details(self) -> None:
        at = self.query_one("#runs", OptionList).highlighted
        told = "" if at is None or at >= len(self._history.runs) else history.details(self._history, at)
        self.query_one("#details", Static).update(printable(told, newlines=False))

    def _show_problem(self, text: str) -> None:
        self.query_one("#problem", Static).update(printable(text))
        self.set_class(bool(text), "-problem")

    # --- what is chosen

    def _change(self, **changes: object) -> None:
        self._setup = self._setup.changed(**changes)
        if self.is_mounted:
            self._show_problem("")
            self._show_setup()

    @on(OptionList.OptionSelected, "#setup")
    def _row_chosen(self, event: OptionList.OptionSelected) -> None:
        last = "start" if self._setup.planned else "plan"
        action = ("model", "data", "method", "time", last)[event.option_index]
        if self.check_action(action, ()):
            getattr(self, f"action_{action}")()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        match action:
            case "stop_planning":
                return self._planning
            case "start":
                return self._setup.planned is not None and not self._watch.running and not self._history.alive
            case "plan":
                return bool(self._setup.model) and self._setup.planned is None and not self._planning
            case "data" | "method" | "time" | "model":
                return not self._planning
            case "roll_back":
                return bool(self._history.in_use)
        return True

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_data(self) -> None:
        def chosen(source: Source) -> None:
            self._change(source=source)

        choose_source(self.app, self._history.datasets, self._shown_in_log, self._now, chosen)

    def action_method(self) -> None:
        choose_method(self.app, self._setup.config, lambda config: self._change(config=config))

    def action_time(self) -> None:
        def chosen(minutes: str | None) -> None:
            if minutes is not None:
                self._change(config=replace(self._setup.config, budget_minutes=float(minutes)))

        self.app.push_screen(BudgetScreen(self._setup.config.budget_minutes), chosen)

    def action_model(self) -> None:
        def chosen(name: str | None) -> None:
            if name is not None:
                self._seen = None  # which adapter is in use is another question now
                self._change(model=name)

        here = [Choice(name, name) for name in self._logs.local_models()]
        self.app.push_screen(PickScreen("Model to train", here, current=self._setup.model), chosen)

    # --- plan, start, roll back

    def action_plan(self) -> None:
        """Freeze the data where it isn't, and ask what the training would take."""
        self._work(self._plan, "planning")

    def action_stop_planning(self) -> None:
        self.workers.cancel_group(self, "planning")

    async def _plan(self) -> None:
        self._planning = True
        self._show_problem("")
        self._show_setup()
        try:
            setup = self._setup
            if not setup.source.dataset:
                setup = replace(setup, source=await self._frozen(setup))
                self._setup = setup
            planned = await commands.plan(self._logs.paths, setup.train_arguments())
            self._setup = replace(setup, planned=planned)
        finally:
            self._planning = False
            if self.is_attached:  # the program may be at its end
                self._show_setup()

    async def _frozen(self, setup: Setup) -> Source:
        name = free_name(f"log-{self._now():%Y-%m-%d}", [one.name for one, _ in self._history.datasets])
        await commands.run(self._logs.paths, setup.data_arguments(name))
        self._seen = None
        await self._reader.ask(self._read)
        made = next((about(one, size) for one, size in self._history.datasets if one.name == name), name)
        return Source(f"{made} · {setup.source.about}", name)

    def action_start(self) -> None:
        """Start what is planned; it is shown as soon as it has a name."""
        self._show_problem("")
        self._watch.start([*self._setup.train_arguments(), "--json"])
        self._opening = True
        self.query_one(StatusLine).tell("starting")
        self.refresh_bindings()

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

    def _open_run(self, name: str) -> None:
        def left(_: None) -> None:
            self._seen = None

        self.app.push_screen(TrainingScreen(self._logs, self._reader, self._replies, self._watch, name), left)


def _labelled(label: str, said: str) -> Content:
    margin = "\n" + "\u00a0" * (_LABEL_CELLS + 1)  # plain spaces at the beginning of a line are left out
    lines = (printable(one, newlines=False) for one in said.split("\n"))
    return Content.styled(f" {label:<{_LABEL_CELLS}}", "$foreground 60%") + margin.join(lines)
