"""The models: what is here, what can be pulled and fits this machine, and servers elsewhere."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from assistant.adapters.folder import trouble
from assistant.errors import ModelError, TrainingError
from assistant.paths import Paths
from assistant.safe_text import printable
from assistant.tui import keys
from assistant.tui.background import in_background
from assistant.tui.models.adapter_rows import AdapterRow, adapter_rows
from assistant.tui.models.model_rows import ModelRow, columns, details, model_rows, progress_line
from assistant.tui.widgets.status_line import StatusLine
from assistant.tui.window import Window

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.engine.hardware.machine import Machine
    from assistant.engine.models.fetch import Progress
    from assistant.store.training.adapters import StoredAdapter
    from assistant.tui.logs import Logs

WELCOME = (
    "There is no model on this machine yet. Choose one with enter: it is pulled once and runs here, and nothing that "
    "you say leaves this machine. A stopped pull goes on later from where it was."
)
ABOUT = "Enter uses a model in the open conversation. A model that is not installed is pulled first."


@dataclass(frozen=True, slots=True)
class Taken:
    """What the open conversation is to be made with. `adapter` None: as it is."""

    model: str
    adapter: str | None = None


class ModelsScreen(Screen[Taken | None]):
    """The result is the model to use, with an adapter of it where one was chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = keys.MODELS
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "OptionList"

    class Pulling(Message):
        """So much has come."""

        def __init__(self, progress: "Progress") -> None:
            super().__init__()
            self.progress = progress

    def __init__(self, paths: Paths, *, first_run: bool, machine: "Machine | None" = None, logs: "Logs | None") -> None:
        """`logs`: None where they are not open yet; then no adapters are shown."""
        super().__init__()
        self._logs = logs
        self._paths = paths
        self._first_run = first_run
        self._machine = machine
        self._rows: list[ModelRow | AdapterRow] = []
        self._pulling: ModelRow | None = None
        self._stop = threading.Event()

    def compose(self) -> ComposeResult:
        with Vertical(id="models"):
            yield Static("Models", classes="heading")
            yield Static(WELCOME if self._first_run else ABOUT, classes="quiet", id="about")
            yield Static("", id="columns", classes="quiet")
            yield OptionList(id="rows")
            yield Static("", id="details", classes="quiet", markup=False)
            yield Static("", id="progress")
            yield Static("", id="problem", classes="problem", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        self._show_models({})
        self.show_rows()
        if self._machine is None:
            self.run_worker(self._look_at_machine())

    def on_unmount(self) -> None:
        self._stop.set()

    async def _look_at_machine(self) -> None:
        from assistant.engine.hardware import machine

        self._machine = await asyncio.to_thread(machine.look)
        self.show_rows()

    # --- the rows

    @property
    def _options(self) -> OptionList:
        return self.query_one("#rows", OptionList)

    @property
    def _highlighted(self) -> ModelRow | AdapterRow | None:
        at = self._options.highlighted
        return None if at is None or at >= len(self._rows) else self._rows[at]

    @property
    def row(self) -> ModelRow | None:
        """The highlighted model; None on an adapter."""
        return row if isinstance(row := self._highlighted, ModelRow) else None

    @property
    def adapter(self) -> AdapterRow | None:
        """The highlighted adapter; None on a model."""
        return row if isinstance(row := self._highlighted, AdapterRow) else None

    def show_rows(self, highlight: str = "") -> None:
        """Show what is here now. The cursor is on `highlight`, else where it was, else on the best to begin with."""

        async def show() -> None:
            names = [row.name for row in self._models()]
            found = {} if self._logs is None else await self._logs.saved.worker.ask(lambda db: _adapters(db, names))
            self._show_models(found, highlight)

        in_background(self, show, "rows", exclusive=True)

    def _models(self) -> list[ModelRow]:
        try:
            return model_rows(self._paths, self._machine)
        except ModelError as error:
            self._show_problem(str(error))
            return [row for row in self._rows if isinstance(row, ModelRow)]

    def _show_models(self, adapters: Mapping[str, Sequence[AdapterRow]], highlight: str = "") -> None:
        """Show the models, each with its adapters under it."""
        before, models = self._highlighted, self._models()
        heading, lines = columns(models)
        under = [adapters.get(one.name, ()) for one in models]
        self._rows = []
        for model, some in zip(models, under, strict=True):
            self._rows += [model, *some]
        wanted = highlight or (before.name if before else "")
        names = [row.name for row in self._rows]
        suggested = next((i for i, row in enumerate(self._rows) if isinstance(row, ModelRow) and row.suggested), 0)
        self.query_one("#columns", Static).update(heading)
        self._options.clear_options()
        shown = [each for line, some in zip(lines, under, strict=True) for each in (line, *(one.line for one in some))]
        self._options.add_options([Option(line) for line in shown])
        self._options.highlighted = names.index(wanted) if wanted in names else suggested
        self._show_details()

    @on(OptionList.OptionHighlighted)
    def _show_details(self) -> None:
        told = printable(self.adapter.about, newlines=False) if self.adapter else ""
        self.query_one("#details", Static).update(details(self.row) if self.row else told)
        self.refresh_bindings()

    def _show_problem(self, text: str) -> None:
        self.query_one("#problem", Static).update(printable(text))
        self.set_class(bool(text), "-problem")

    # --- what can be done

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if action == "stop_pull":
            return self._pulling is not None
        if action == "promote":
            return self._pulling is None and self.adapter is not None and not self.adapter.in_use
        if action == "roll_back":
            return self._pulling is None and self._used_here
        if action == "remove":
            return self._pulling is None and self.row is not None and self.row.here
        return True

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_stop_pull(self) -> None:
        self._stop.set()

    def action_use(self) -> None:
        """Take the highlighted model, pulled first where it isn't here, or the adapter with its model."""
        row = self.row
        if self.adapter is not None:
            self.dismiss(Taken(self.adapter.model, self.adapter.name))
        if row is None or self._pulling is not None:
            return
        if row.here and row.embeds:
            self._show_problem(f"{row.name} is used for search by meaning; it can't chat. Choose another model.")
        elif row.here:
            self.dismiss(Taken(row.name))
        else:
            self.run_worker(self._pull(row))

    @on(OptionList.OptionSelected)
    def _selected(self) -> None:
        self.action_use()

    async def _pull(self, row: ModelRow) -> None:
        from assistant.engine.models import catalogue, fetch

        self._pulling = row
        self._stop.clear()
        self._show_problem("")
        self.add_class("-pulling")
        self.refresh_bindings()
        try:
            model = catalogue.known(row.name)
            installed = await asyncio.to_thread(fetch.pull, self._paths, model, self._tell, self._stop.is_set)
        except ModelError as error:
            self._show_problem(str(error))
        else:
            if not row.embeds:
                self.dismiss(Taken(installed.name))
                return
        finally:
            self._pulling = None
            self.query_one("#progress", Static).update("")
            self.remove_class("-pulling")
            self.refresh_bindings()
        self.show_rows(row.name)

    def _tell(self, progress: "Progress") -> None:
        """Called in the thread that pulls."""
        self.post_message(self.Pulling(progress))

    def on_models_screen_pulling(self, event: Pulling) -> None:
        if self._pulling is not None:
            line = progress_line(event.progress, self.query_one("#progress").content_size.width)
            self.query_one("#progress", Static).update(line)

    def action_remove(self) -> None:
        """Take the highlighted model off this machine, after asking."""
        from assistant.engine.models import catalogue
        from assistant.tui.dialogs.pick import Choice, PickScreen

        row = self.row
        if row is None:
            return

        def answered(answer: str | None) -> None:
            if answer != "remove":
                return
            try:
                catalogue.remove(self._paths, row.name)
            except ModelError as error:
                self._show_problem(str(error))
            self.show_rows()

        choices = [Choice("keep", "Keep it"), Choice("remove", "Remove it", row.removal)]
        self.app.push_screen(PickScreen(f"Remove {row.name}?", choices), answered)

    # --- adapters

    @property
    def _used_here(self) -> bool:
        """Whether the highlighted model, or that of the highlighted adapter, is used with one."""
        row = self._highlighted
        name = row.model if isinstance(row, AdapterRow) else row.name if row else ""
        return any(one.in_use for one in self._rows if isinstance(one, AdapterRow) and one.model == name)

    def action_promote(self) -> None:
        """Make new replies with the highlighted adapter; where something speaks against it, ask first."""
        if self.adapter is not None:
            self.run_worker(self._promote(self.adapter, anyway=False))

    async def _promote(self, adapter: AdapterRow, *, anyway: bool) -> None:
        from assistant.tui.jobs import commands

        self._show_problem("")
        try:
            await commands.run(self._paths, ["promote", adapter.hash, *(["--anyway"] if anyway else [])])
        except TrainingError as error:
            self._show_problem(str(error))
            if not anyway:
                self._ask_anyway(adapter)
        self.show_rows()

    def _ask_anyway(self, adapter: AdapterRow) -> None:
        from assistant.tui.dialogs.pick import Choice, PickScreen

        def answered(answer: str | None) -> None:
            if answer == "anyway":
                self.run_worker(self._promote(adapter, anyway=True))

        choices = [
            Choice("no", "Leave it"),
            Choice("anyway", "Use it anyway", "the log records the objections"),
        ]
        self.app.push_screen(PickScreen(f"{adapter.name} should not be used", choices), answered)

    def action_roll_back(self) -> None:
        """Make new replies with what was in use before."""
        from assistant.store.training import adapters

        row, logs = self._highlighted, self._logs
        if row is None or logs is None:
            return
        model = row.model if isinstance(row, AdapterRow) else row.name

        async def roll_back() -> None:
            now = await logs.saved.worker.act(lambda db: adapters.roll_back(db, model))
            self._show_problem("")
            self.show_rows()
            if now is not None:
                await self._tell_trouble(now)

        in_background(self, roll_back)

    async def _tell_trouble(self, now: "StoredAdapter") -> None:
        """Say why replies can't be made with what is in use now. Its files may be large: a thread reads them."""
        wrong = await asyncio.to_thread(trouble, self._paths.adapters / now.name, now.hash)
        if wrong:
            self._show_problem(f"{now.name} is in use and can't be used: {wrong} Or roll back once more.")

    def action_add(self) -> None:
        """Add a folder, a GGUF file or a server."""
        from assistant.tui.models.add import add_model

        def added(name: str | None) -> None:
            if name is not None:
                self.show_rows(name)

        add_model(self.app, self._paths, added)


def _adapters(db: "Database", models: Sequence[str]) -> dict[str, Sequence[AdapterRow]]:
    return {name: adapter_rows(db, name) for name in models}


# --- the room


def screen(window: Window) -> ModelsScreen:
    """The models; with a welcome where there is none that can chat."""
    logs = window.open_logs
    first_run = logs is None or not logs.models()
    return ModelsScreen(window.paths, first_run=first_run, machine=window.machine, logs=logs)


def left(window: Window, taken: Taken | None) -> None:
    """Make the open conversation with the model that was chosen."""
    if taken is not None and window.open_logs is not None:
        in_background(window.chat, partial(window.open_logs.choose_model, taken.model))
        adapter = {} if taken.adapter is None else {"adapter": taken.adapter}
        window.chat.view.opened.configure(model=taken.model, **adapter)
    window.chat.refresh_all()
