"""Corrections that are taught: how far it is, what the model says now, and whether to keep it."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label, Static

from assistant.cli.output import duration
from assistant.errors import AssistantError
from assistant.safe_text import printable
from assistant.tui import keys
from assistant.tui.jobs.course import Course
from assistant.tui.jobs.teaching import Teaching
from finetune.teach.outcome import Outcome
from finetune.teach.words import Line, lines

LOOK_EVERY_S = 0.3
LEARNING = "b continue in the background · esc stop"
DECIDING = "enter keep, for new replies · esc drop, nothing changes"
ENDED = "esc close"


class TeachScreen(ModalScreen[str]):
    """The result is what to tell about it, in a line; empty: nothing, None: it goes on in the background."""

    BINDINGS: ClassVar[list[BindingType]] = keys.TEACH
    CSS = """
    TeachScreen .dialog { width: 110; }
    TeachScreen #found { height: auto; max-height: 60vh; }
    TeachScreen #outcome { grid-size: 2; grid-columns: auto 1fr; grid-rows: auto; grid-gutter: 0 2; height: auto; }
    TeachScreen #outcome Static { height: auto; }
    TeachScreen .label { width: auto; color: $foreground 60%; }
    TeachScreen #progress, TeachScreen .keys { width: 100%; height: auto; }
    TeachScreen .keys { margin-top: 1; }
    """

    def __init__(self, teaching: Teaching, ids: Sequence[int]) -> None:
        """`ids`: what to start with; none: show the one that runs or ran last."""
        super().__init__()
        self._teaching = teaching
        self._ids = ids
        self._found: Outcome | None = None
        self._problem = ""
        self._busy = ""
        """What is being done with the outcome."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("Teach", classes="heading", markup=False)
            yield Static("", id="progress", markup=False)
            with VerticalScroll(id="found", can_focus=False):
                yield Grid(id="outcome")
            yield Label("", classes="problem", markup=False)
            yield Label("", classes="quiet keys", markup=False)

    def on_mount(self) -> None:
        if self._ids:
            try:
                self._teaching.start(self._ids)
            except AssistantError as error:
                self._problem = str(error)
        self._look()
        self.set_interval(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._teaching.watch.look()
        if self._found is None and not self._problem and not self._is_learning:
            self._found = self._teaching.outcome
            self._problem = "" if self._found else self._teaching.watch.failure or "Teaching ended without a result."
        self._show()

    @property
    def _is_learning(self) -> bool:
        return self._teaching.watch.running and not self._problem

    def _show(self) -> None:
        found = self._found
        progress = self._busy or (learning(self._teaching.watch.course) if self._is_learning else "")
        self.query_one("#progress", Static).update(progress)
        self.query_one("#progress", Static).display = bool(progress)
        self._show_outcome(found)
        self.query_one(".problem", Label).update(printable(self._problem))
        self.query_one(".problem", Label).display = bool(self._problem)
        hint = LEARNING if self._is_learning else DECIDING if found else ENDED
        self.query_one(".keys", Label).update("" if self._busy else hint)

    def _show_outcome(self, found: Outcome | None) -> None:
        """The lines, each label beside its text, once there is an outcome."""
        self.query_one("#found").display = found is not None
        grid = self.query_one("#outcome", Grid)
        if found is not None and not grid.children:
            grid.mount_all(cell for line in lines(found) for cell in cells(line))

    # --- what can be done

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if self._busy:
            return False
        if action == "hide":
            return self._is_learning
        return self._found is not None if action == "keep" else True

    def action_hide(self) -> None:
        """Go on chatting; it is shown again with the key that started it."""
        self.dismiss(None)

    def action_keep(self) -> None:
        """Use what was taught for new replies."""
        self._decide("keeping", keep=True)

    def action_drop(self) -> None:
        """Stop it, or delete what came of it."""
        if self._is_learning:
            self._teaching.stop()
            self.dismiss("teaching stopped · nothing was changed")
        elif self._found is not None:
            self._decide("dropping", keep=False)
        else:
            self.dismiss("")

    def _decide(self, what: str, *, keep: bool) -> None:
        found = self._found
        assert found is not None

        async def work() -> None:
            try:
                await self._teaching.decide(found.run, keep=keep)
            except AssistantError as error:
                self._busy, self._problem = "", str(error)
                self._show()
            else:
                kept = f"{found.run} is in use · F7 z takes it back"
                self.dismiss(kept if keep else f"{found.run} dropped · nothing remains")

        self._busy = f"{what} {found.run} …"
        self._show()
        self.run_worker(work())


def learning(course: Course) -> str:
    """`learning · step 5 of 24 · at most 20 s left`."""
    last, said = course.last, course.advanced
    if last is None or (said is not None and said.what == "asking again"):
        return said.what if said is not None else "starting the training, which takes about a minute"
    return f"learning · step {last.step} of {last.steps} · at most {duration(last.seconds_left)} left"


def cells(line: Line) -> tuple[Static, Static]:
    """The label of a line, and its text with the verdict."""
    text = Content(printable(line.text, newlines=False))
    verdict = Content.styled(f"  {line.verdict}" if line.verdict else "", _STYLES[line.good])
    return Static(line.label, classes="label", markup=False), Static(text + verdict)


_STYLES = {None: "$foreground 60%", True: "$text-success", False: "$text-error"}
