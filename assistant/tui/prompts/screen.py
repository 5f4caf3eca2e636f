"""Prompts: the templates at the left, the text of one at the right, and below it what it makes and how good it is."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.timer import Timer
from textual.widgets import Input, OptionList, Static, TextArea

from assistant.safe_text import printable, shorten
from assistant.tui import keys
from assistant.tui.background import every, in_background
from assistant.tui.clock import Now
from assistant.tui.dialogs.pick import Choice, PickScreen
from assistant.tui.prompts import files, preview
from assistant.tui.prompts.files import TemplateFile
from assistant.tui.prompts.previewing import Previewing
from assistant.tui.prompts.template_editor import TemplateEditor
from assistant.tui.prompts.template_list import TemplateList
from assistant.tui.prompts.trying import Trying
from assistant.tui.prompts.writing import Writing, name_form
from assistant.tui.widgets.page import Blocks, Page
from assistant.tui.widgets.status_line import StatusLine
from assistant.tui.window import Window
from prompts import user_templates as own
from prompts.errors import TemplateInvalid
from prompts.template import Template, parse

if TYPE_CHECKING:
    from assistant.tui.logs import Logs

Tab = Literal["preview", "answer", "tests", "versions"]
TABS: tuple[Tab, ...] = ("preview", "answer", "tests", "versions")
NARROW_COLUMNS = 100
LOOK_EVERY_S = 1.0
"""How often the files are looked at."""
CHECK_AFTER_S = 0.05
"""A text is read when nothing was typed for so long."""
WIDEST_PROBLEM = 400
NOTHING_FOUND = "Nothing found. esc clears the search."
CHANGED = "The file was changed on disk while you wrote. ctrl+g asks which text to keep."
_WHILE_WRITING = ("save", "leave_edit", "leave", "stop")


class PromptsScreen(Screen[Template | None]):
    """The result is a template for the open conversation, or None. What is written or tested goes on meanwhile."""

    BINDINGS: ClassVar[list[BindingType]] = keys.PROMPTS
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "TemplateList"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW_COLUMNS, "-wide")]  # noqa: RUF012  as Textual declares it

    def __init__(self, logs: "Logs", *, now: Now, current: str) -> None:
        """`current`: the name of the template that is shown first."""
        super().__init__()
        self._logs = logs
        self._current = current
        self._files: list[TemplateFile] = []
        self.file: TemplateFile | None = None
        """The one that is shown."""
        self.template: Template | None = None
        """What the text in the editor says; None where it can't be used."""
        self.previewing = Previewing(self, logs)
        self.trying = Trying(self, logs, now)
        self.writing = Writing(self, logs, now)
        self._check_timer: Timer | None = None
        self.tab: Tab = "preview"

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

    @property
    def editor(self) -> TemplateEditor:
        return self.query_one(TemplateEditor)

    @property
    def listed(self) -> TemplateList:
        return self.query_one(TemplateList)

    @property
    def page(self) -> Page[Blocks]:
        return self.query_one(Page)

    def _tell(self, text: str) -> None:
        self.query_one(StatusLine).tell(text)

    # --- the files

    async def on_mount(self) -> None:
        await self.read_files()
        in_background(self, self._go_on_writing)
        every(self, LOOK_EVERY_S, self._look)

    async def _look(self) -> None:
        if self.is_current:
            await self.read_files()

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        self.query_one(StatusLine).facts = (self._logs.model().rpartition("/")[2] or "no model",)

    async def read_files(self, show: Path | None = None) -> None:
        """Show what the files are now: `show`, or the one that was shown."""
        found = await asyncio.to_thread(files.read, self._logs.library, self._logs.paths.templates)
        if found == self._files and show is None:
            return
        changed_elsewhere = bool(self._files) and show is None
        self._files = found
        before = self.file
        self._list_files(show or (before.path if before else self._path_of(self._current)))
        if changed_elsewhere and before and self.file and self.file != before:
            self._tell_change(before, self.file)

    def _tell_change(self, before: TemplateFile, now: TemplateFile) -> None:
        """Say that the file which is shown was changed by another program."""
        if self.writing.active:
            self._tell(CHANGED)
        elif before.path == now.path:
            self._tell(f"{now.name} was changed on disk, and is read again")

    def _path_of(self, name: str) -> Path | None:
        return next((one.path for one in self._files if one.name == name), None)

    def _list_files(self, keep: Path | None) -> None:
        shown = files.found(self._files, self.query_one("#search", Input).value)
        self.listed.show(shown, keep)
        self.open_file(self.listed.file)

    @on(Input.Changed, "#search")
    def _search_changed(self, event: Input.Changed) -> None:
        best = files.best(files.found(self._files, event.value), event.value)
        self._list_files(best or (self.file.path if self.file else None))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        self.open_file(self.listed.file)

    def open_file(self, file: TemplateFile | None) -> None:
        """Show a file. One that is being written keeps what is written."""
        if self.writing.active:
            if file is not None and self.file is not None and file.path == self.file.path:
                self.file = file
            return
        if file == self.file:
            return
        self.file = file
        self.previewing.clear()
        self.query_one("#about", Static).update(_about(file) if file else Content(NOTHING_FOUND))
        self.editor.load_text(file.text if file else "")
        self.check_text()

    # --- what the text stands for

    @on(TextArea.Changed)
    def _typed(self) -> None:
        if self.writing.active:
            if self._check_timer is not None:
                self._check_timer.stop()
            self._check_timer = self.set_timer(CHECK_AFTER_S, self.check_text)

    @on(Trying.Given)
    def check_text(self) -> None:
        """Read the text in the editor, and show what is wrong with it or what it makes."""
        self.template, problem, file = None, "", self.file
        if file is not None and not file.readable:
            problem = file.problem
        elif file is not None:
            try:
                self.template = parse(self.editor.text, name=file.name, path=file.path)
            except TemplateInvalid as error:
                problem = str(error).removeprefix(f"{file.path}, ")
        if file is not None and self.template is not None:
            trial = self.trying.trial(file.path, self.template)
            made = self.previewing.make(self.template, trial)
            problem = made or ("" if self.writing.active else file.problem)
        self._show_problem(problem)
        self._read_tab()
        self.refresh_bindings()
        if self.writing.active and file is not None:
            self.writing.keep_draft(file.path, self.editor.text)

    def _show_problem(self, problem: str) -> None:
        shown = self.query_one("#problem", Static)
        shown.update(shorten(printable(problem), WIDEST_PROBLEM))
        shown.display = bool(problem)
        self.editor.mark_problem(problem)

    # --- the part below the text

    def action_show(self, tab: Tab) -> None:
        """Show one of the pages below the text."""
        self.tab = tab
        self._read_tab()
        self.refresh_bindings()

    def _read_tab(self) -> None:
        """Show the page below the text, and read what the log has for it."""
        file, shown_hash = self.file, self.template.hash if self.template else ""
        if file is not None and self.tab == "tests":
            self.trying.read_tests(file.name)
        elif file is not None and self.tab == "versions":
            others = (one.text for one in self._files if one.name == file.name and not one.own)
            self.writing.read_earlier(file.name, next(others, "") if file.own else "", shown_hash)
        self.show_tab()

    @on(Previewing.Counted)
    @on(Trying.TestsChanged)
    @on(Writing.EarlierRead)
    def show_tab(self) -> None:
        """Show the page below the text as it is now."""
        self.query_one("#tabs", Static).update(_tabs(self.tab))
        entries, figures = self._tab_entries()
        self.query_one("#figures", Static).update(printable(figures, newlines=False))
        self.page.show(entries)
        self.refresh_bindings()

    def _tab_entries(self) -> tuple[Sequence[Blocks], str]:
        """What the page shows, and the figures beside its name."""
        if self.file is not None and self.tab == "answer":
            return self.trying.answer(self.file.path), ""
        if self.file is not None and self.tab == "tests":
            return self.trying.tests(self.file, self.template.hash if self.template else ""), ""
        if self.file is not None and self.tab == "versions":
            return self.writing.entries(self.editor.text), ""
        made = self.previewing.preview
        figures = made.count if self.template is not None else "before the mistake" if made.messages else ""
        return preview.entries(made), figures

    def action_page(self) -> None:
        self.page.page()

    # --- tried

    @on(Trying.Busy)
    def _busy_changed(self) -> None:
        self.query_one(StatusLine).state = self.trying.state
        self.show_tab()

    @on(Trying.AnswerCame)
    def _show_answer(self) -> None:
        self.action_show("answer")

    def action_stop(self) -> None:
        self.trying.stop()

    def action_try_it(self) -> None:
        """Ask for the inputs, and run it."""
        if self.template is not None and self.file is not None:
            self.trying.run(self.file.path, self.template)

    def action_test(self) -> None:
        """Test it on the set beside it, or on one that is asked for."""
        if self.template is not None and self.file is not None:
            self.action_show("tests")
            self.trying.test(self.file.path, self.template)

    # --- written

    def action_edit(self) -> None:
        if self.file is None:
            return
        if self.file.own:
            self._begin(self.file.text)
        else:
            self._duplicate("A built-in template stays as it is. Write a copy of your own.")

    def _begin(self, text: str, before: str | None = None) -> None:
        """Let the person write, beginning with `text`. While a text is written the list is still."""
        assert self.file is not None
        self.writing.before = self.file.text if before is None else before
        self.listed.disabled = self.query_one("#search").disabled = True
        self.editor.load_text(text)
        self.writing.active = True
        self.editor.write(True)
        self.add_class("-writing")
        self.editor.focus()
        self.check_text()

    async def _go_on_writing(self) -> None:
        """Go on with what was being written when the program ended."""
        draft = await self.writing.draft()
        if draft is not None and any(one.own and one.path == draft.path for one in self._files):
            self._list_files(draft.path)
            self._begin(draft.text, draft.before)
            self._tell("restored your unsaved text")

    def action_save(self) -> None:
        """Write the file, unless another program wrote it meanwhile: then ask."""
        assert self.file is not None

        def chosen(choice: str | None) -> None:
            if choice is not None:
                in_background(self, self._save if choice == "mine" else self._end)

        if self.file.text == self.writing.before:
            chosen("mine")
            return
        choices = [
            Choice("mine", "Keep what you wrote", "the file is overwritten"),
            Choice("disk", "Keep what is on disk", "what you wrote is lost"),
        ]
        self.app.push_screen(PickScreen("The file was changed meanwhile", choices), chosen)

    async def _save(self) -> None:
        assert self.file is not None
        name = self.file.name
        await self.writing.save(self.file.path, self.editor.text)
        await self._end()
        self._tell(f"saved {name}")

    def action_leave_edit(self) -> None:
        """Stop writing; what was changed is saved or given up, as the person says."""

        def chosen(choice: str | None) -> None:
            if choice == "save":
                self.action_save()
            elif choice == "lose":
                in_background(self, self._end)

        if self.editor.text == self.writing.before:
            chosen("lose")
            return
        choices = [Choice("save", "Save it"), Choice("lose", "Give it up", "the file stays as it was")]
        self.app.push_screen(PickScreen("The text is not saved", choices), chosen)

    async def _end(self) -> None:
        """Show the file as it is on disk."""
        path = self.file.path if self.file else None
        self.writing.forget_draft()
        self.writing.active = False
        self.editor.write(False)
        self.remove_class("-writing")
        self.listed.disabled = self.query_one("#search").disabled = False
        self.file = None  # read anew
        await self.read_files(path)
        self.listed.focus()

    async def close(self) -> None:
        """Keep what is written; the screen is not used after this."""
        if self.writing.active and self.file is not None:
            self.writing.keep_draft(self.file.path, self.editor.text)

    def action_new(self) -> None:
        self._name_one("A new template", "", "", lambda name: own.create(self._folder, name, own.NEW))

    def action_duplicate(self) -> None:
        self._duplicate("")

    def _duplicate(self, about: str) -> None:
        template = self.file.template if self.file else None
        if template is None:
            return
        name = own.free_name(self._folder, template.name if self.file and self.file.own else f"my-{template.name}")
        heading = f"Duplicate {template.name}"
        self._name_one(heading, about, name, lambda typed: own.duplicate(template, self._folder, typed))

    def _name_one(self, heading: str, about: str, name: str, make: Callable[[str], Path]) -> None:
        def made(path: Path | None) -> None:
            async def write() -> None:
                self.query_one("#search", Input).value = ""
                await self.read_files(path)
                self.action_edit()

            if path is not None:
                in_background(self, write)

        self.app.push_screen(name_form(heading, about, name, make), made)

    def action_delete(self) -> None:
        file = self.file
        if file is None or not file.own:
            return

        async def delete() -> None:
            await self.writing.delete(file.path)
            await self.read_files()
            self._tell(f"deleted {file.name}")

        def answered(choice: str | None) -> None:
            if choice == "delete":
                in_background(self, delete)

        beside = file.path.with_suffix(".jsonl")
        stays = f"its labelled set {beside.name} stays" if beside.is_file() else ""
        choices = [Choice("keep", "Keep it"), Choice("delete", "Delete it", stays)]
        self.app.push_screen(PickScreen(f"Delete {file.name}?", choices), answered)

    @property
    def _folder(self) -> Path:
        return self._logs.paths.templates

    def action_version(self, step: int) -> None:
        self.writing.step(step)
        self.show_tab()

    def action_bring_back(self) -> None:
        """Write on with the earlier text; nothing is saved yet."""
        self._begin(self.writing.earlier_text)

    # --- search, and leaving

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

    # --- which actions make sense

    @property
    def _has_earlier(self) -> bool:
        return self.tab == "versions" and bool(self.writing.earlier)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        writing = self.writing.active
        if action == "stop":
            return bool(self.trying.state)
        if action in ("save", "leave_edit"):
            return writing
        if writing and isinstance(self.focused, TemplateEditor):
            return action in _WHILE_WRITING
        if isinstance(self.focused, Input):
            return action == "leave"
        if action in ("try_it", "test"):
            return self.template is not None and not self.trying.state
        if action == "show":
            return parameters != (self.tab,)
        if action == "version":
            return self._has_earlier
        return self._check_file_action(action)

    def _check_file_action(self, action: str) -> bool:
        """What depends on whose file is shown, and on whether it is being written."""
        file, writing = self.file, self.writing.active
        if action == "use":
            return self.template is not None and self.template.kind == "chat" and not writing
        if action == "bring_back":
            return self._has_earlier and file is not None and file.own
        if action == "edit":
            return file is not None and file.readable and (file.own or file.template is not None) and not writing
        if action == "delete":
            return file is not None and file.own and not writing
        if action == "duplicate":
            return file is not None and file.template is not None and not writing
        if action in ("new", "search"):
            return not writing
        return True


def _tabs(shown: Tab) -> Content:
    names = [
        Content.styled(name, "bold $text-accent" if name == shown else "$foreground 60%").stylize(
            Style.from_meta({"@click": f"screen.show('{name}')"})
        )
        for name in TABS
    ]
    return Content("  ").join(names)


def _about(file: TemplateFile) -> Content:
    """Its name and what it is; of one's own also where it is."""
    template = file.template
    told = [file.name, *([template.kind, template.language] if template else []), "yours" if file.own else "built-in"]
    line = Content.styled(told[0], "bold") + Content(" · " + " · ".join(told[1:]))
    place = printable(f"  {file.path}" if file.own else "", newlines=False)
    return line + Content.styled(f"  {place.strip()}", "$foreground 60%")


# --- the room


def screen(window: Window) -> PromptsScreen:
    """The templates, first that of the open conversation."""
    return PromptsScreen(window.logs, now=window.now, current=window.chat.view.opened.setup.template)


def left(window: Window, template: Template | None) -> None:
    """Use the template that was chosen in the open conversation."""
    from assistant.tui.chat.choose import use_template

    if template is not None:
        use_template(window.chat.view, template)
