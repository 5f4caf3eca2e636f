"""Templates by name under what they belong to."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from assistant.tui.prompts.files import TemplateFile


class TemplateList(OptionList, inherit_bindings=False):
    """The left and right keys are free: lines don't scroll sideways."""

    BINDINGS: ClassVar[list[BindingType]] = list(OptionList.BINDINGS)
    DEFAULT_CSS = """
    TemplateList, TemplateList:focus {
        border: none;
        padding: 0;
        height: 1fr;
        background: $background;
        background-tint: $foreground 0%;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
        & > .option-list--option-highlighted { background: $surface; color: $foreground; }
        & > .option-list--option-disabled { color: $foreground 60%; }
    }
    TemplateList:focus > .option-list--option-highlighted {
        background: $block-cursor-background;
        color: $block-cursor-foreground;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._files: Sequence[TemplateFile] = ()
        self._rows: list[TemplateFile | None] = []
        """The file of each line; None of a heading."""
        self._cells = 0

    @property
    def file(self) -> TemplateFile | None:
        """The one under the cursor."""
        at = self.highlighted
        return None if at is None or at >= len(self._rows) else self._rows[at]

    def show(self, files: Sequence[TemplateFile], keep: Path | None) -> None:
        """List these, the cursor on the one at `keep`, else on the first."""
        self._files = files
        self._cells = max(10, self.size.width - 4)  # as if there were a scrollbar
        self._rows = []
        options: list[Option] = []
        shelf = ""
        for file in files:
            if file.shelf != shelf:
                shelf = file.shelf
                options.append(Option(shelf, disabled=True))
                self._rows.append(None)
            options.append(Option(Content("  ") + file.line(self._cells)))
            self._rows.append(file)
        paths = [row.path if row else None for row in self._rows]
        with self.prevent(OptionList.OptionHighlighted):
            self.clear_options()
            self.add_options(options)
            self.highlighted = paths.index(keep) if keep and keep in paths else (1 if files else None)

    def on_resize(self) -> None:
        if self._cells != max(10, self.size.width - 4):
            self.show(self._files, self.file.path if self.file else None)
