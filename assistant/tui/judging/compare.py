"""Two replies side by side, their makers hidden until one of them has the vote."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static

from assistant.safe_text import printable
from assistant.tui import keys
from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.status_line import StatusLine
from assistant.tui.widgets.transcript import Transcript

NARROW_COLUMNS = 72
"""A narrower terminal shows one above the other."""
SHOWN_OF_PROMPT = 300
"""Characters; two lines of the widest screen."""
NAMES = ("A", "B")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to the same prompt, in the order to show."""

    ids: tuple[int, int]
    prompt: str
    texts: tuple[str, str]
    makers: tuple[str, str]


class CompareScreen(Screen[int | None]):
    """The result is the id of the better one, or None.

    `vote` is called with that id, with None for a tie; what is skipped says nothing, and `vote` isn't called.
    """

    BINDINGS: ClassVar[list[BindingType]] = keys.COMPARE
    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = "#reply-0"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW_COLUMNS, "-wide")]  # noqa: RUF012  as Textual declares it

    def __init__(self, pair: Pair, vote: Callable[[int | None], None]) -> None:
        super().__init__()
        self._pair = pair
        self._vote = vote
        self._voted = False
        self._better: int | None = None

    def compose(self) -> ComposeResult:
        yield Static("Which reply is better?", classes="heading", id="question")
        yield Static(
            printable(self._pair.prompt[:SHOWN_OF_PROMPT], newlines=False), classes="quiet", id="prompt", markup=False
        )
        with Horizontal(id="sides"):
            for at in range(2):
                with Vertical(classes="side"):
                    yield Transcript(id=f"reply-{at}")
                    yield Static("", classes="maker", id=f"maker-{at}", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        for at, (one, text) in enumerate(zip(self._pair.ids, self._pair.texts, strict=True)):
            transcript = self.query_one(f"#reply-{at}", Transcript)
            transcript.show([MessageView(one, "assistant", text, "", name=NAMES[at])])
            transcript.call_after_refresh(transcript.action_to_start)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return action not in ("vote", "tie", "skip") or not self._voted

    def action_vote(self, at: int) -> None:
        """One of the two is better."""
        better = self._pair.ids[at]
        self._vote(better)
        self._better = better
        self._reveal(f"You chose {NAMES[at]}.")

    def action_tie(self) -> None:
        """Neither is better."""
        self._vote(None)
        self._reveal("You chose neither.")

    def action_skip(self) -> None:
        """No vote."""
        self._reveal("Skipped, nothing is stored.")

    def _reveal(self, verdict: str) -> None:
        self._voted = True
        self.query_one("#question", Static).update(f"{verdict} The models are named below.")
        for at, maker in enumerate(self._pair.makers):
            self.query_one(f"#maker-{at}", Static).update(printable(maker))
        self.add_class("-revealed")
        self.refresh_bindings()

    def action_leave(self) -> None:
        self.dismiss(self._better)
