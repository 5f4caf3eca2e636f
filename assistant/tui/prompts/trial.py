"""What a template is tried with: what was given last, or else something to see it by."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.tasks.rows import InputUnreadable, rows
from prompts.sandbox import INPUT, LABEL
from prompts.template import Template


@dataclass(frozen=True, slots=True)
class Trial:
    """What a person says, and values of the inputs."""

    said: str
    values: Mapping[str, str]

    def of(self, template: Template) -> "Trial":
        """The same without values that the template doesn't know, and with `‹name›` for those it lacks."""
        missing = {one.name: f"‹{one.name}›" for one in template.inputs if one.default is None}
        known = {one.name for one in template.inputs}
        return Trial(self.said, missing | {name: text for name, text in self.values.items() if name in known and text})


def first(template: Template) -> Trial:
    """The first row of the set beside the template, or its first example, or marks where things go."""
    beside = template.path.with_suffix(".jsonl") if template.path else None
    if beside is not None and (row := _first_row(beside)) and isinstance(row.get(INPUT), str):
        own = {one.name: str(row[one.name]) for one in template.inputs if row.get(one.name) is not None}
        return Trial(row[INPUT], own)
    for example in template.examples:
        return Trial(example.input, example.values)
    return Trial(f"‹{INPUT}›", {})


def question(template: Template) -> dict[str, str]:
    """What `# user` may ask about beside the inputs: the first label, where each is asked about alone."""
    return {LABEL: next(iter(template.labels))} if template.several else {}


def _first_row(path: Path) -> dict[str, Any]:
    try:
        return next(rows(path), {}) if path.is_file() else {}
    except InputUnreadable:
        return {}  # a test of the template will tell what is wrong with it
