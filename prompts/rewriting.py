"""Replace parts of a template, with a readable file as the result."""

from collections.abc import Iterable, Mapping
from typing import Any

from prompts.labels import Labels
from prompts.sandbox import INPUT
from prompts.template import Example, Template, front_matter, parse

LINE = 120


def rewritten(
    template: Template,
    *,
    name: str = "",
    sections: Mapping[str, str] | None = None,
    examples: Iterable[Example] | None = None,
    labels: Labels | None = None,
    more: Mapping[str, Any] | None = None,
) -> Template:
    """`template` with the given parts replaced; `more`: whole keys of the front matter.

    Comments in the front matter are lost. Raises `TemplateInvalid` if the parts contradict each other.
    """
    table = front_matter(template)
    table.pop("name", None)
    if examples is not None:
        table["examples"] = [_row(example, template) for example in examples]
    if labels is not None:
        table["labels"] = {one: list(words) for one, words in labels.items()}
    table |= more or {}
    said = template.sections if sections is None else sections
    body = "\n".join(f"# {role}\n{text}" for role, text in said.items() if text.strip())
    return parse(f"---\n{_yaml(table)}---\n{body}\n", name=name or template.name)


def _row(example: Example, template: Template) -> dict[str, Any]:
    import json

    output = json.loads(example.output) if template.schema else example.output
    reasoning = {"reasoning": example.reasoning} if example.reasoning else {}
    return {**example.values, INPUT: example.input, **reasoning, "output": output}


def _yaml(table: Mapping[str, Any]) -> str:
    import yaml

    filled = {key: value for key, value in table.items() if value not in (None, [], {})}
    text: str = yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, width=LINE, default_flow_style=None)
    return text
