"""The rows of the Train screen that say what the next training will do."""

from collections.abc import Sequence

from textual.content import Content

from assistant.safe_text import printable
from assistant.tui.train.setup import JUDGED_WELL, Setup
from assistant.tui.training import words

LABEL_CELLS = 13
NO_MODEL = "none on this machine yet: press esc, then f4 to pull one"
START = "enter trains the model and proves the result"
PLAN = "p estimates time and memory first"
NONE_JUDGED = (
    "nothing judged yet: in the chat ↑ then + rates a reply good\nassistant log import FILE imports from other programs"
)
_PLANNED_ON_A_LINE = 3


def rows(setup: Setup, counts: str, working: str, *, can_plan: bool) -> Sequence[tuple[str, Content]]:
    """(the action that Enter runs, text) of each row. `counts`: what the data takes of the log; `working`: progress of
    its making. What to go on from is only asked where an adapter is in use.
    """
    told = [
        ("model", "model", setup.model or NO_MODEL),
        ("data", "learn from", _data(setup, counts)),
        ("method", "method", words.method(setup.config, setup.start)),
        ("time", "time", words.budget(setup.config)),
        ("start", "start", working or _start(setup, can_plan)),
    ]
    if setup.in_use:
        told.insert(1, ("start_from", "goes on from", words.start(setup.start)))
    return [(action, _labelled(label, text)) for action, label, text in told]


def _data(setup: Setup, counts: str) -> str:
    if setup.source.dataset:
        return setup.source.about
    if counts.startswith("0 ") and setup.source == JUDGED_WELL:
        counts = NONE_JUDGED
    return f"{setup.source.about}\n{counts or 'counting …'}"


def _start(setup: Setup, can_plan: bool) -> str:
    if setup.planned is None:
        return f"{START}\n{PLAN}" if can_plan else START
    parts = words.plan(setup.planned, setup.config).split(" · ")
    first, rest = parts[:_PLANNED_ON_A_LINE], parts[_PLANNED_ON_A_LINE:]
    return " · ".join(first) + "\n" + " · ".join([*rest, "enter starts it"])


def _labelled(label: str, text: str) -> Content:
    margin = "\n" + "\u00a0" * (LABEL_CELLS + 1)  # plain spaces at the beginning of a line are left out
    lines = (printable(one, newlines=False) for one in text.split("\n"))
    return Content.styled(f" {label:<{LABEL_CELLS}}", "$foreground 60%") + margin.join(lines)
