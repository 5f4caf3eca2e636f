"""All templates: the built-in ones, and a person's own, which take the place of built-in ones of the same name.

Beside a built-in template that does a task lies its labelled set, NAME.jsonl; docs/library.md says what a row holds.
"""

import difflib
from pathlib import Path

from prompts.errors import TemplateInvalid, TemplateUnknown
from prompts.template import Template, load

BUILT_IN = Path(__file__).parent / "library"


class Library:
    """The templates below the built-in folder and the folder of one's own. A file is read again when it changes."""

    def __init__(self, own: Path | None) -> None:
        self._own = own
        self._read: dict[Path, tuple[int, Template | TemplateInvalid]] = {}

    def templates(self) -> list[Template]:
        """All that can be used, by name."""
        found = {one.name: one for _, one in self.files() if isinstance(one, Template)}
        return [found[name] for name in sorted(found)]

    def problems(self) -> list[TemplateInvalid]:
        """What is wrong with the files that can't be used."""
        return [one for _, one in self.files() if isinstance(one, TemplateInvalid)]

    def find(self, name: str) -> Template:
        """The template of that name. Raises `TemplateUnknown`, or `TemplateInvalid` where its file is broken."""
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
        """Whether it lies in the person's folder."""
        return template.path is not None and self._own is not None and self._own in template.path.parents

    def _files(self) -> list[Path]:
        """Built-in ones first, so that one's own come later and win."""
        own = sorted(self._own.rglob("*.md")) if self._own is not None and self._own.is_dir() else []
        return sorted(BUILT_IN.rglob("*.md")) + own

    def files(self) -> list[tuple[Path, Template | TemplateInvalid]]:
        """Every file, built-in ones first, with its template or what is wrong with it."""
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
