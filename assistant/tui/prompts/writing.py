"""A person's own templates: drafts, saved files, and the texts that a template had before."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message
from textual.widget import Widget

from assistant.store import conversations, templates
from assistant.tui.background import in_background
from assistant.tui.clock import Now
from assistant.tui.dialogs.form import Field, FormScreen
from assistant.tui.prompts import differences
from assistant.tui.prompts.differences import Earlier
from assistant.tui.widgets.page import Blocks
from prompts import user_templates as own
from prompts.template import text_hash

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.tui.logs import Logs

DRAFT = "template draft"
"""What is being written is kept in the log under this name, until it is saved or given up."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text that was being written, and the file's text when that began."""

    path: Path
    text: str
    before: str


class Writing:
    """What the log keeps of a template that is written. `active`: the person may write in the editor."""

    class EarlierRead(Message):
        """The earlier texts of a template were read."""

    def __init__(self, widget: Widget, logs: "Logs", now: Now) -> None:
        self._widget = widget
        self._logs = logs
        self._now = now
        self.active = False
        self.before = ""
        """The file's text when writing began."""
        self.earlier: Sequence[Earlier] = ()
        """Texts that the template had before."""
        self._at = 0
        """Which of the earlier texts is shown."""

    # --- drafts

    async def draft(self) -> Draft | None:
        """What was being written when the program ended."""
        kept = await self._logs.saved.worker.ask(lambda db: conversations.recall(db, DRAFT))
        if not kept:
            return None
        found = json.loads(kept)
        return Draft(Path(found["path"]), found["text"], found["before"])

    def keep_draft(self, path: Path, text: str) -> None:
        """Keep what is written; a text that is that of the file is no draft."""
        draft = {"path": str(path), "text": text, "before": self.before}
        self._remember("" if text == self.before else json.dumps(draft))

    def forget_draft(self) -> None:
        self._remember("")

    def _remember(self, kept: str) -> None:
        acted = self._logs.saved.worker.act(lambda db: conversations.remember(db, DRAFT, kept))
        in_background(self._widget, lambda: acted)

    # --- files

    async def save(self, path: Path, text: str) -> None:
        """Write a file, and keep both texts in the log. Raises `PromptError` where the file can't be written."""
        name, before = path.stem, self.before
        own.write(path, text)

        def keep(db: "Database") -> None:
            for one in (before, text):
                templates.save(db, text_hash(one), name, one)

        await self._logs.saved.worker.act(keep)

    async def delete(self, path: Path) -> None:
        """Delete a file, and what the log keeps under its name."""
        own.remove(path)
        await self._logs.saved.worker.act(lambda db: templates.forget(db, path.stem))

    # --- earlier texts

    def read_earlier(self, name: str, built_in: str, shown_hash: str) -> None:
        """Read the earlier texts. `built_in`: the text that a file of the person's own takes the place of, if any;
        `shown_hash`: of the text that is shown.
        """

        async def read() -> None:
            kept = await self._logs.saved.worker.ask(lambda db: templates.versions(db, name))
            self.earlier = differences.earlier(kept, built_in, shown_hash, self._now())
            self._at = min(self._at, max(0, len(self.earlier) - 1))
            self._widget.post_message(self.EarlierRead())

        in_background(self._widget, read, "earlier", exclusive=True)

    def step(self, step: int) -> None:
        """Show another earlier text."""
        self._at = (self._at + step) % len(self.earlier)

    @property
    def earlier_text(self) -> str:
        """The earlier text that is shown."""
        return self.earlier[self._at].text

    def entries(self, now_shown: str) -> Sequence[Blocks]:
        """The earlier text beside that in the editor."""
        return differences.entries(self.earlier, self._at, now_shown)


def name_form(heading: str, about: str, name: str, make: Callable[[str], Path]) -> FormScreen[Path]:
    """The result is the file that `make` made under the name."""
    field = Field("name", "name", "small letters, digits and hyphens", name)
    return FormScreen(heading, about, [field], lambda typed: make(typed["name"].strip()))
