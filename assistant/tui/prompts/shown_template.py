"""The templates, the text of one, and the messages that it makes of what it is tried with."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual import on
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.timer import Timer
from textual.widgets import Input, OptionList, Static, TextArea

from assistant.errors import AssistantError
from assistant.safe_text import printable, shorten
from assistant.tui.clock import Now
from assistant.tui.prompts import files, preview
from assistant.tui.prompts.files import TemplateFile
from assistant.tui.prompts.preview import Preview
from assistant.tui.prompts.template_editor import TemplateEditor
from assistant.tui.prompts.template_list import TemplateList
from assistant.tui.prompts.trial import Trial, first, question
from assistant.tui.told_errors import TellsErrors
from assistant.tui.widgets.page import Blocks, Page
from assistant.tui.widgets.status_line import StatusLine
from prompts.errors import InputsInvalid, TemplateInvalid
from prompts.message import Message
from prompts.template import Template, parse
from prompts.tracing import Traced, traced

if TYPE_CHECKING:
    from assistant.tui.logs import Logs

Tab = Literal["preview", "answer", "tests", "versions"]
TABS: tuple[Tab, ...] = ("preview", "answer", "tests", "versions")
LOOK_EVERY_S = 1.0
"""How often the files are looked at."""
CHECK_AFTER_S = 0.05
COUNT_AFTER_S = 0.15
"""A text is read, and its tokens are counted, when nothing was typed for so long."""
WIDEST_PROBLEM = 400
NOTHING_FOUND = "Nothing found. esc clears the search."


class ShownTemplate(TellsErrors, Screen[Template | None]):
    """What is read of the files, and what the text in the editor stands for."""

    def __init__(self, logs: "Logs", *, now: Now, current: str) -> None:
        """`current`: the name of the template that is shown first."""
        super().__init__()
        self._logs = logs
        self._now = now
        self._current = current
        self._files: list[TemplateFile] = []
        self.file: TemplateFile | None = None
        """The one that is shown."""
        self.template: Template | None = None
        """What the text in the editor says; None where it can't be used."""
        self._trials: dict[Path, Trial] = {}
        self._preview = Preview(())
        self._check_timer: Timer | None = None
        self.tab: Tab = "preview"
        self.writing = False
        """The person may write in the editor."""

    @property
    def editor(self) -> TemplateEditor:
        return self.query_one(TemplateEditor)

    @property
    def listed(self) -> TemplateList:
        return self.query_one(TemplateList)

    @property
    def page(self) -> Page[Blocks]:
        return self.query_one(Page)

    def tell(self, text: str) -> None:
        self.query_one(StatusLine).tell(text)

    # --- the files

    async def on_mount(self) -> None:
        self.query_one(StatusLine).facts = (self._logs.model().rpartition("/")[2] or "no model",)
        await self.read_files()
        self.ready()
        self.set_interval(LOOK_EVERY_S, self._look)

    def ready(self) -> None:
        """The files are shown for the first time."""

    async def _look(self) -> None:
        if self.is_current:
            await self.read_files()

    def on_screen_resume(self) -> None:
        self.query_one(StatusLine).facts = (self._logs.model().rpartition("/")[2] or "no model",)

    async def read_files(self, show: Path | None = None) -> None:
        """Show what the files are now: `show`, or the one that was shown."""
        found = await asyncio.to_thread(files.read, self._logs.library, self._logs.paths.templates)
        if found == self._files and show is None:
            return
        changed_elsewhere = bool(self._files) and show is None
        self._files = found
        before = self.file
        wanted = show or (before.path if before else self._path_of(self._current))
        self._list_files(wanted)
        if changed_elsewhere and before and self.file and self.file != before:
            self.file_changed(before)

    def _path_of(self, name: str) -> Path | None:
        return next((one.path for one in self._files if one.name == name), None)

    def _list_files(self, keep: Path | None) -> None:
        shown = files.found(self._files, self.query_one("#search", Input).value)
        self.listed.show(shown, keep)
        self.open_file(self.listed.file)

    def file_changed(self, before: TemplateFile) -> None:
        """The file that is shown, which was `before`, was changed by another program."""
        if self.file is not None and before.path == self.file.path:
            self.tell(f"{self.file.name} was changed on disk, and is read again")

    @on(Input.Changed, "#search")
    def _search_changed(self, event: Input.Changed) -> None:
        best = files.best(files.found(self._files, event.value), event.value)
        self._list_files(best or (self.file.path if self.file else None))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        self.open_file(self.listed.file)

    def open_file(self, file: TemplateFile | None) -> None:
        """Show a file. One that is being written keeps what is written."""
        if self.writing:
            if file is not None and self.file is not None and file.path == self.file.path:
                self.file = file
            return
        if file == self.file:
            return
        self.file = file
        self._preview = Preview(())
        self.query_one("#about", Static).update(_about(file) if file else Content(NOTHING_FOUND))
        self.editor.load_text(file.text if file else "")
        self.check_text()

    # --- what the text stands for

    @on(TextArea.Changed)
    def _typed(self) -> None:
        if self.writing:
            if self._check_timer is not None:
                self._check_timer.stop()
            self._check_timer = self.set_timer(CHECK_AFTER_S, self.check_text)

    def check_text(self) -> None:
        """Read the text in the editor, and show what is wrong with it or what it makes."""
        self.template, problem = None, ""
        if self.file is not None and not self.file.readable:
            problem = self.file.problem
        elif self.file is not None:
            try:
                self.template = parse(self.editor.text, name=self.file.name, path=self.file.path)
            except TemplateInvalid as error:
                problem = str(error).removeprefix(f"{self.file.path}, ")
        if self.file is not None and self.template is not None:
            problem = self._make(self.template) or ("" if self.writing else self.file.problem)
        self._show_problem(problem)
        self.show_tab()
        self.refresh_bindings()

    def _show_problem(self, problem: str) -> None:
        shown = self.query_one("#problem", Static)
        shown.update(shorten(printable(problem), WIDEST_PROBLEM))
        shown.display = bool(problem)
        self.editor.mark_problem(problem)

    def trial(self, template: Template) -> Trial:
        """What a template is tried with: what was given last, else something of its own."""
        path = self.file.path if self.file else Path()
        if path not in self._trials:
            self._trials[path] = first(template)
        return self._trials[path].of(template)

    def _make(self, template: Template) -> str:
        """What is wrong, if anything, with what the text makes."""
        trial = self.trial(template)
        try:
            messages = traced(template, [Message("user", trial.said)], trial.values, question(template))
        except InputsInvalid as error:
            return str(error)
        if messages != self._preview.messages:
            self._preview = Preview(messages)
        if self._preview.tokens is None:
            self.run_worker(self._count(messages), group="tokens", exclusive=True)
        return ""

    async def _count(self, messages: Sequence[Traced]) -> None:
        await asyncio.sleep(COUNT_AFTER_S)
        tokens, untold = None, ""
        try:
            if model := self._logs.model():
                tokens = await self._logs.client.tokenize(model, [told.message for told in messages])
            else:
                untold = "no model counts tokens"
        except AssistantError as error:
            untold = f"tokens not counted: {error}"
        if self._preview.messages == messages:
            self._preview = Preview(messages, tokens, untold)
            if self.tab == "preview":
                self.show_tab()

    # --- the part below the text

    def action_show(self, tab: Tab) -> None:
        """Show one of the pages below the text."""
        self.tab = tab
        self.show_tab()
        self.refresh_bindings()

    def show_tab(self) -> None:
        """Show the page below the text as it is now."""
        self.query_one("#tabs", Static).update(self._tabs())
        entries, figures = self.tab_entries()
        self.query_one("#figures", Static).update(printable(figures, newlines=False))
        self.page.show(entries)

    def tab_entries(self) -> tuple[Sequence[Blocks], str]:
        """What the page shows, and the figures beside its name."""
        if self.template is None:
            return preview.entries(self._preview), "before the mistake" if self._preview.messages else ""
        return preview.entries(self._preview), self._preview.count

    def _tabs(self) -> Content:
        names = [
            Content.styled(name, "bold $text-accent" if name == self.tab else "$foreground 60%").stylize(
                Style.from_meta({"@click": f"screen.show('{name}')"})
            )
            for name in TABS
        ]
        return Content("  ").join(names)

    def action_page(self) -> None:
        self.page.page()


def _about(file: TemplateFile) -> Content:
    """Its name and what it is; of one's own also where it lies."""
    template = file.template
    told = [file.name, *([template.kind, template.language] if template else []), "yours" if file.own else "built-in"]
    line = Content.styled(told[0], "bold") + Content(" · " + " · ".join(told[1:]))
    place = printable(f"  {file.path}" if file.own else "", newlines=False)
    return line + Content.styled(f"  {place.strip()}", "$foreground 60%")
