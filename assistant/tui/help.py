"""Every key, and what the program is about."""

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from assistant.safe_text import cell_width, printable
from assistant.tui import keys
from assistant.tui.dialogs.dialog import Dialog

ABOUT = (
    "A local assistant. The model runs on this machine, and what is said stays in one file on it. "
    "Everything here is also in the command palette, by name. [keys] in config.toml changes any key by its id."
)


class HelpScreen(Dialog[None]):
    """Keys by section, as they are bound now."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss_none", "back", id="help.close")]
    DEFAULT_CSS = """
    HelpScreen > VerticalScroll { scrollbar-size-vertical: 1; height: 90%; }
    """

    def __init__(self, version: str, config_file: str, remapped: Mapping[str, str]) -> None:
        super().__init__()
        self._version = version
        self._config_file = config_file
        self._remapped = remapped

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(f"assistant {self._version}", classes="heading", markup=False)
            yield Static(ABOUT, classes="quiet", markup=False)
            yield Static(self._table())
            yield Static(printable(f"\nconfig.toml: {self._config_file}"), classes="quiet", markup=False)

    def _table(self) -> Content:
        lines: list[Content] = []
        for section, rows in {**keys.SECTIONS, **keys.of_widgets()}.items():
            lines += [Content(""), Content.styled(section, "bold")]
            lines += [self._line(binding) for binding in keys.bindings(rows)]
        return Content("\n").join(lines)

    def _line(self, binding: Binding) -> Content:
        bound = self._remapped.get(binding.id or "", "") or binding.key
        shown = " ".join(self.app.get_key_display(Binding(key.strip(), "")) for key in bound.split(","))
        columns = Content.styled(_padded(shown, 14), "$accent") + _padded(keys.title(binding), 36)
        return columns + Content.styled(binding.id or "", "$foreground 60%")


def _padded(text: str, cells: int) -> str:
    return text + " " * max(1, cells - cell_width(text))
