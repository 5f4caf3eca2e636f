"""A question with its reasons, and a few answers."""

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Label, OptionList, Static
from textual.widgets.option_list import Option

from assistant.safe_text import cell_width, printable
from assistant.tui.dialogs.dialog import Dialog
from assistant.tui.dialogs.pick import Choice, line_of


class AskScreen(Dialog[str]):
    """The result is the value of the answer, or None. The first answer is highlighted: let it do no harm."""

    AUTO_FOCUS = "OptionList"

    def __init__(self, question: str, why: str, answers: Sequence[Choice]) -> None:
        super().__init__()
        self._question = question
        self._why = why
        self._answers = answers

    def compose(self) -> ComposeResult:
        widest = max(cell_width(one.title) for one in self._answers)
        with Vertical(classes="dialog"):
            yield Label(printable(self._question, newlines=False), classes="heading", markup=False)
            if self._why:
                yield Static(printable(self._why), id="why", markup=False)
            yield OptionList(*(Option(line_of(one, widest)) for one in self._answers), id="choices")
            yield Label("enter choose · esc cancel", classes="quiet keys", markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = 0

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._answers[event.option_index].value)
