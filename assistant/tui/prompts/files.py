"""The files of templates as the Prompts screen lists them: one's own first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.content import Content

from assistant.safe_text import cell_width, printable, shorten
from prompts.errors import TemplateInvalid
from prompts.library import Library
from prompts.template import Template

KIND_CELLS = 7
NAME_CELLS = 18
"""Fewer cells are left to the name alone."""
UNREADABLE = "can't be used"


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """One file. `template` is None where it can't be used; `problem` says why."""

    path: Path
    own: bool
    text: str
    """Empty where it can't be read."""
    readable: bool
    template: Template | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def kind(self) -> str:
        return self.template.kind if self.template else UNREADABLE

    @property
    def shelf(self) -> str:
        """What it is listed under."""
        return "yours" if self.own else f"built-in · {self.path.parent.name}"

    @property
    def searched(self) -> str:
        """Small letters in which a search looks."""
        about = f"{self.template.language} {self.template.description}" if self.template else self.problem
        return f"{self.name} {self.kind} {about}".lower()

    def line(self, cells: int) -> Content:
        """Name and kind, the kind where there is room for both."""
        room = cells - KIND_CELLS - 1
        if room < NAME_CELLS or not self.template:
            told = Content(shorten(self.name, cells))
            return told if self.template else told.stylize("$text-error")
        name = shorten(self.name, room)
        return Content(name + " " * (room - cell_width(name) + 1)) + Content.styled(self.kind, "$foreground 60%")


def read(library: Library, own: Path) -> list[TemplateFile]:
    """All files: one's own, then the built-in ones, by language."""
    files = [_file(path, found, own in path.parents) for path, found in library.files()]
    return [one for one in files if one.own] + [one for one in files if not one.own]


def found(files: Sequence[TemplateFile], typed: str) -> Sequence[TemplateFile]:
    """Those that hold each word that was typed in name, kind, language or description."""
    words = typed.lower().split()
    return [one for one in files if all(word in one.searched for word in words)]


def best(files: Sequence[TemplateFile], typed: str) -> Path | None:
    """The one that is looked for most likely, where something was typed: its name is or begins with that."""
    name = "-".join(typed.lower().split())
    likeliest = max(
        files, key=lambda one: (one.name == name, one.name.startswith(name), name in one.name), default=None
    )
    return likeliest.path if likeliest and name else None


def _file(path: Path, found: Template | TemplateInvalid, own: bool) -> TemplateFile:
    if isinstance(found, Template):
        return TemplateFile(path, own, printable(found.text), True, found)
    problem = str(found).removeprefix(f"{path}, ").removeprefix(f"{path}: ")
    try:
        return TemplateFile(path, own, printable(path.read_text(encoding="utf-8-sig")), True, problem=problem)
    except (OSError, UnicodeDecodeError):
        return TemplateFile(path, own, "", False, problem=problem)
