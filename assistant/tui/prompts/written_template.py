"""A person's own templates: written, duplicated, deleted, and brought back to what they were."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from textual.widgets import Input

from assistant.store import conversations, templates
from assistant.tui.dialogs.form import Field, FormScreen
from assistant.tui.dialogs.pick import Choice, PickScreen
from assistant.tui.prompts import differences
from assistant.tui.prompts.differences import Earlier
from assistant.tui.prompts.files import TemplateFile
from assistant.tui.prompts.shown_template import ShownTemplate
from assistant.tui.widgets.page import Blocks
from prompts import own
from prompts.template import text_hash

DRAFT = "template draft"
"""What is being written is kept in the log under this name, until it is saved or given up."""
CHANGED = "It was changed on disk while you wrote. ctrl+g asks which text to keep."


class NameScreen(FormScreen[Path]):
    """The result is the file that `make` made under the name."""

    def __init__(self, heading: str, about: str, name: str, make: Callable[[str], Path]) -> None:
        self._make = make
        super().__init__(heading, about, [Field("name", "name", "small letters, digits and hyphens", name)])

    def result(self, typed: dict[str, str]) -> Path:
        return self._make(typed["name"].strip())


class WrittenTemplate(ShownTemplate):
    """While a text is written the list is still: what is written is saved or given up first."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._before = ""
        """The file's text when writing began."""
        self._earlier: Sequence[Earlier] = ()
        self._at = 0
        """Which of the earlier texts is shown."""

    # --- writing

    def action_edit(self) -> None:
        if self.file is None:
            return
        if self.file.own:
            self.begin(self.file.text)
        else:
            self._duplicate("A built-in template stays as it is. Write a copy of your own.")

    def begin(self, text: str) -> None:
        """Let the person write, beginning with `text`."""
        assert self.file is not None
        self._before = self.file.text
        self.listed.disabled = self.query_one("#search").disabled = True
        self.editor.load_text(text)
        self.writing = True
        self.editor.write(True)
        self.add_class("-writing")
        self.editor.focus()
        self.check_text()

    def check_text(self) -> None:
        super().check_text()
        if self.writing:
            self._keep_draft()

    async def action_save(self) -> None:
        """Write the file, unless another program wrote it meanwhile: then ask."""
        assert self.file is not None
        if self.file.text == self._before:
            await self._save()
            return
        choices = [
            Choice("mine", "Keep what you wrote", "the file is overwritten"),
            Choice("disk", "Keep what is on disk", "what you wrote is lost"),
        ]
        self.app.push_screen(PickScreen("The file was changed meanwhile", choices), self._choose_text)

    async def _choose_text(self, choice: str | None) -> None:
        if choice == "mine":
            await self._save()
        elif choice == "disk":
            await self._end()

    async def _save(self) -> None:
        assert self.file is not None
        own.write(self.file.path, self.editor.text)
        for text in (self._before, self.editor.text):
            templates.save(self._logs.saved.db, text_hash(text), self.file.name, text)
        await self._end()
        self.tell(f"saved {self.file.name}")

    def action_leave_edit(self) -> None:
        """Stop writing; what was changed is saved or given up, as the person says."""
        if self.editor.text == self._before:
            self.run_worker(self._end())
            return
        choices = [Choice("save", "Save it"), Choice("lose", "Give it up", "the file stays as it was")]

        async def answered(choice: str | None) -> None:
            if choice == "save":
                await self.action_save()
            elif choice == "lose":
                await self._end()

        self.app.push_screen(PickScreen("The text is not saved", choices), answered)

    async def _end(self) -> None:
        """Show the file as it is on disk."""
        path = self.file.path if self.file else None
        conversations.remember(self._logs.saved.db, DRAFT, "")
        self.writing = False
        self.editor.write(False)
        self.remove_class("-writing")
        self.listed.disabled = self.query_one("#search").disabled = False
        self.file = None  # read anew
        await self.read_files(path)
        self.listed.focus()

    def file_changed(self, before: TemplateFile) -> None:
        if self.writing:
            self.tell(CHANGED)
        else:
            super().file_changed(before)

    # --- drafts

    def _keep_draft(self) -> None:
        assert self.file is not None
        draft = {"path": str(self.file.path), "text": self.editor.text, "before": self._before}
        kept = "" if self.editor.text == self._before else json.dumps(draft)
        conversations.remember(self._logs.saved.db, DRAFT, kept)

    def ready(self) -> None:
        """Go on with what was being written when the program ended."""
        kept = conversations.recall(self._logs.saved.db, DRAFT)
        if not kept:
            return
        draft = json.loads(kept)
        if any(one.own and str(one.path) == draft["path"] for one in self._files):
            self._list_files(Path(draft["path"]))
            self.begin(draft["text"])
            self._before = draft["before"]
            self.tell("what you had not saved is here")

    def close(self) -> None:
        """Keep what is written; the screen is not used after this."""
        if self.writing:
            self._keep_draft()

    # --- files

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
        async def made(path: Path | None) -> None:
            if path is not None:
                self.query_one("#search", Input).value = ""
                await self.read_files(path)
                self.action_edit()

        self.app.push_screen(NameScreen(heading, about, name, make), made)

    def action_delete(self) -> None:
        file = self.file
        if file is None or not file.own:
            return

        async def answered(choice: str | None) -> None:
            if choice == "delete":
                own.remove(file.path)
                templates.forget(self._logs.saved.db, file.name)
                await self.read_files()
                self.tell(f"deleted {file.name}")

        beside = file.path.with_suffix(".jsonl")
        stays = f"its labelled set {beside.name} stays" if beside.is_file() else ""
        choices = [Choice("keep", "Keep it"), Choice("delete", "Delete it", stays)]
        self.app.push_screen(PickScreen(f"Delete {file.name}?", choices), answered)

    @property
    def _folder(self) -> Path:
        return self._logs.paths.templates

    # --- earlier texts

    def tab_entries(self) -> tuple[Sequence[Blocks], str]:
        if self.tab != "versions" or self.file is None:
            return super().tab_entries()
        self._read_earlier(self.file)
        return differences.entries(self._earlier, self._at, self.editor.text), ""

    def _read_earlier(self, file: TemplateFile) -> None:
        kept = templates.versions(self._logs.saved.db, file.name)
        replaced = next((one.text for one in self._files if one.name == file.name and not one.own), "")
        shown_hash = self.template.hash if self.template else ""
        self._earlier = differences.earlier(kept, replaced if file.own else "", shown_hash, self._now())
        self._at = min(self._at, max(0, len(self._earlier) - 1))

    @property
    def has_earlier(self) -> bool:
        return self.tab == "versions" and bool(self._earlier)

    def action_version(self, step: int) -> None:
        self._at = (self._at + step) % len(self._earlier)
        self.show_tab()

    def action_bring_back(self) -> None:
        """Write on with the earlier text; nothing is saved yet."""
        self.begin(self._earlier[self._at].text)
