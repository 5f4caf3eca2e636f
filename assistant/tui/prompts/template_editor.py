"""The text of a template, to read or to write, with the line that is wrong underlined."""

import re

from rich.text import Text
from textual.widgets import TextArea

_PLACE = re.compile(r"^line (\d+)")


class TemplateEditor(TextArea):
    """Only read until it is `read_only` no more."""

    DEFAULT_CSS = """
    TemplateEditor, TemplateEditor:focus {
        border: none;
        padding: 0;
        background: $background;
        background-tint: $foreground 0%;
        scrollbar-size-vertical: 1;
        & .text-area--cursor-line, & .text-area--cursor-gutter { background: $background; }
        & .text-area--gutter { color: $foreground 40%; }
    }
    TemplateEditor.-writing, TemplateEditor.-writing:focus { background: $surface; }
    TemplateEditor.-writing .text-area--cursor-line, TemplateEditor.-writing .text-area--cursor-gutter {
        background: $surface;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, read_only=True, soft_wrap=True, show_line_numbers=True, show_cursor=False)
        self._wrong_line = -1

    def write(self, writing: bool) -> None:
        """Let the person write, or only read."""
        self.read_only = not writing
        self.show_cursor = writing
        self.set_class(writing, "-writing")

    def mark_problem(self, problem: str) -> None:
        """Underline the line that `line 3, column 7: …` names, or none."""
        named = _PLACE.match(problem)
        wrong = int(named[1]) - 1 if named else -1
        if wrong != self._wrong_line:
            self._wrong_line = wrong
            self._line_cache.clear()
            self.refresh()

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        if line_index == self._wrong_line:
            line.stylize("underline")
        return line

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """Whether the key is text here. Textual knows no characters for + and -, which would be offered as keys."""
        return super().check_consume_key(key, character or {"plus": "+", "minus": "-"}.get(key))
