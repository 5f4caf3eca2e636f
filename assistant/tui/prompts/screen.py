"""Prompts: the templates at the left, the text of one at the right, and below it what it makes and how good it is."""

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, OptionList, Static

from assistant.tui import keys
from assistant.tui.prompts.template_editor import TemplateEditor
from assistant.tui.prompts.template_list import TemplateList
from assistant.tui.prompts.tried_template import TriedTemplate
from assistant.tui.prompts.written_template import WrittenTemplate
from assistant.tui.widgets.page import Page
from assistant.tui.widgets.status_line import StatusLine

NARROW_COLUMNS = 100
_WHILE_WRITING = ("save", "leave_edit", "leave", "stop")


class PromptsScreen(WrittenTemplate, TriedTemplate):
    """The result is a template for the open conversation, or None. What is written or tested goes on meanwhile."""

    BINDINGS: ClassVar[list[BindingType]] = keys.PROMPTS
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "TemplateList"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW_COLUMNS, "-wide")]  # noqa: RUF012  as Textual declares it

    def compose(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="templates"):
                yield Input(placeholder="/ search", id="search", select_on_focus=False)
                yield TemplateList()
            with Vertical(id="shown"):
                yield Static("", id="about")
                yield TemplateEditor()
                yield Static("", id="problem", classes="problem", markup=False)
                with Horizontal(id="tab-line"):
                    yield Static("", id="tabs")
                    yield Static("", id="figures", markup=False)
                yield Page(id="page")
        yield StatusLine()

    def action_search(self) -> None:
        self.set_focus(self.query_one("#search", Input))

    @on(Input.Submitted, "#search")
    def _to_list(self) -> None:
        self.listed.focus()

    @on(OptionList.OptionSelected)
    def _selected(self) -> None:
        if self.check_action("try_it", ()):
            self.action_try_it()

    def on_key(self, event: events.Key) -> None:
        """Down leaves the search for the list, escape empties it or leaves it."""
        line = self.query_one("#search", Input)
        if line.has_focus and event.key in ("down", "escape"):
            event.stop()
            event.prevent_default()
            if event.key == "escape" and line.value:
                line.value = ""
            else:
                self.listed.focus()

    def action_use(self) -> None:
        self.dismiss(self.template)

    def action_leave(self) -> None:
        self.dismiss(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stop":
            return self.asking
        if action in ("save", "leave_edit"):
            return self.writing
        if self.writing and isinstance(self.focused, TemplateEditor):
            return action in _WHILE_WRITING
        if isinstance(self.focused, Input):
            return action == "leave"
        if action in ("try_it", "test"):
            return self.template is not None and not self.asking
        if action == "show":
            return parameters != (self.tab,)
        if action == "version":
            return self.has_earlier
        return self._check_file_action(action)

    def _check_file_action(self, action: str) -> bool:
        """What depends on whose file is shown, and on whether it is being written."""
        file = self.file
        if action == "use":
            return self.template is not None and self.template.kind == "chat" and not self.writing
        if action == "bring_back":
            return self.has_earlier and file is not None and file.own
        if action == "edit":
            return file is not None and file.readable and (file.own or file.template is not None) and not self.writing
        if action == "delete":
            return file is not None and file.own and not self.writing
        if action == "duplicate":
            return file is not None and file.template is not None and not self.writing
        if action in ("new", "search"):
            return not self.writing
        return True
