"""Template, inputs and turns -> messages. What a person says is put in as text and never rendered itself."""

from collections.abc import Mapping, Sequence

from prompts.errors import InputsInvalid
from prompts.message import Message
from prompts.sandbox import INPUT, fill
from prompts.template import Template


def render(template: Template, turns: Sequence[Message], values: Mapping[str, str]) -> list[Message]:
    """System message, examples, then `turns` with every user turn as `# user` wraps it.

    Raises `InputsInvalid` naming all inputs that are missing or unknown at once.
    """
    inputs = complete(template, values)
    messages = []
    if system := _section(template, "system", inputs).strip():
        messages.append(Message("system", system))
    for example in template.examples:
        messages += [Message("user", _said(template, example.input, inputs)), Message("assistant", example.output)]
    for turn in turns:
        messages.append(Message("user", _said(template, turn.content, inputs)) if turn.role == "user" else turn)
    return messages


def complete(template: Template, values: Mapping[str, str]) -> dict[str, str]:
    """`values` with the defaults of the inputs that were not given."""
    declared = {one.name: one for one in template.inputs}
    known = ", ".join(declared) or "none"
    if unknown := sorted(set(values) - set(declared)):
        raise InputsInvalid(f"Template {template.name!r} has no input {', '.join(unknown)}. It has: {known}.")
    missing = [name for name, one in declared.items() if one.default is None and not values.get(name)]
    if missing:
        wanted = "; ".join(f"{name} ({declared[name].description})" for name in missing)
        raise InputsInvalid(f"Template {template.name!r} needs {wanted}. Give each as name=value.")
    return {name: values.get(name) or one.default or "" for name, one in declared.items()}


def _section(template: Template, role: str, values: Mapping[str, str]) -> str:
    source = template.sections.get(role, "")
    return fill(source, values, f"Template {template.name!r}, # {role},") if source else ""


def _said(template: Template, text: str, inputs: Mapping[str, str]) -> str:
    return _section(template, "user", {**inputs, INPUT: text}) if "user" in template.sections else text
