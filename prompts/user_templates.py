"""Files of the user's own templates: written atomically, readable by their owner only."""

import os
import shutil
from pathlib import Path

from prompts.errors import PromptError
from prompts.template import NAME, Template, load

NEW = """---
kind: chat
description: What it is for, in one line
language: en
---
# system
You are a helpful assistant.
"""
"""Text of a new template."""


class TemplateUnwritable(PromptError):
    """A template's file can't be written or removed."""


def free_name(folder: Path, wanted: str) -> str:
    """`wanted`, or `wanted` with the first unused number."""
    taken = {path.stem for path in folder.rglob("*.md")}
    names = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def create(folder: Path, name: str, text: str) -> Path:
    """Create a file. Raises `TemplateUnwritable` for an invalid or used name."""
    if not NAME.fullmatch(name):
        raise TemplateUnwritable(f"The name {name!r} must be small letters, digits and hyphens.")
    if free_name(folder, name) != name:
        raise TemplateUnwritable(f"You have a template {name!r} already. Choose another name.")
    path = folder / f"{name}.md"
    write(path, text)
    return path


def duplicate(template: Template, folder: Path, name: str) -> Path:
    """Copy a template to the user's folder, with its labelled set unless there is one. Raises as `create`."""
    path = create(folder, name, _renamed(template, name))
    beside = template.data
    copy = load(path).data or path.with_suffix(".jsonl")
    if beside and beside.is_file() and not copy.exists():
        try:
            shutil.copyfile(beside, copy)
            copy.chmod(0o600)
        except OSError as error:
            raise TemplateUnwritable(f"{copy} can't be written: {error.strerror}.") from error
    return path


def write(path: Path, text: str) -> None:
    """Replace the file's text. Raises `TemplateUnwritable`, with the file unchanged."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial.touch(mode=0o600)
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        partial.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else "it contains half of a surrogate pair"
        raise TemplateUnwritable(f"{path} can't be written: {why}.") from error


def remove(path: Path) -> None:
    """Remove the file. Raises `TemplateUnwritable`."""
    try:
        path.unlink()
    except OSError as error:
        raise TemplateUnwritable(f"{path} can't be removed: {error.strerror}.") from error


def _renamed(template: Template, name: str) -> str:
    """The template's text with its `name:` line changed, if it has one."""
    lines = template.text.splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines[1:], 1) if line.rstrip() == "---")
    for number, line in enumerate(lines[:end]):
        if line.startswith("name:"):
            lines[number] = f"name: {name}\n"
    return "".join(lines)
