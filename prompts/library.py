"""All templates: built-in ones, and the user's own, which override built-in ones of the same name.

A built-in template for a task has a labelled set NAME.jsonl beside it; docs/library.md describes its rows.
"""

import difflib
from pathlib import Path

from prompts.errors import TemplateInvalid, TemplateUnknown
from prompts.template import Template, load

BUILT_IN = Path(__file__).parent / "library"


class Library:
    """Templates in the built-in and the user's folder. A file is read again when it changes."""

    def __init__(self, own: Path | None) -> None:
        self._own = own
        self._read: dict[Path, tuple[int, Template | TemplateInvalid]] = {}

    def templates(self) -> list[Template]:
        """All valid templates, sorted by name."""
        found = {one.name: one for _, one in self.files() if isinstance(one, Template)}
        return [found[name] for name in sorted(found)]

    def problems(self) -> list[TemplateInvalid]:
        """Errors of the invalid template files."""
        return [one for _, one in self.files() if isinstance(one, TemplateInvalid)]

    def find(self, name: str) -> Template:
        """The template of that name. Raises `TemplateUnknown`, or `TemplateInvalid` if its file is invalid."""
        for path in reversed(self._files()):
            if path.stem == name:
                one = self._load(path)
                if isinstance(one, TemplateInvalid):
                    raise one
                return one
        near = difflib.get_close_matches(name, [one.stem for one in self._files()], 3, 0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise TemplateUnknown(f"There is no template {name!r}. {hint}`assistant prompts list` shows all.")

    def is_own(self, template: Template) -> bool:
        """Whether the template is in the user's folder."""
        return template.path is not None and self._own is not None and self._own in template.path.parents

    def _files(self) -> list[Path]:
        """All files, built-in ones first, so that the user's override them."""
        own = sorted(self._own.rglob("*.md")) if self._own is not None and self._own.is_dir() else []
        return sorted(BUILT_IN.rglob("*.md")) + own

    def files(self) -> list[tuple[Path, Template | TemplateInvalid]]:
        """All files, built-in ones first, with the template or its error."""
        loaded: list[tuple[Path, Template | TemplateInvalid]] = []
        seen: dict[tuple[str, bool], Path] = {}
        for path in self._files():
            key = (path.stem, BUILT_IN in path.parents)
            if first := seen.get(key):
                same = TemplateInvalid(f"{path}: {first} has the same name; rename one of them.")
                loaded.append((path, same))
            else:
                loaded.append((path, self._load(path)))
                seen[key] = path
        return loaded

    def _load(self, path: Path) -> Template | TemplateInvalid:
        try:
            changed_ns = path.stat().st_mtime_ns
        except OSError as error:
            return TemplateInvalid(f"{path}: can't be read: {error.strerror}.")
        known = self._read.get(path)
        if known is None or known[0] != changed_ns:
            try:
                known = (changed_ns, load(path))
            except TemplateInvalid as error:
                known = (changed_ns, error)
            self._read[path] = known
        return known[1]
