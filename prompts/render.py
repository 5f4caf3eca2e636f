"""Template, inputs and turns -> messages. What a person says is put in as text and never rendered itself."""

from collections.abc import Mapping, Sequence

from prompts.errors import InputsInvalid
from prompts.labels import named
from prompts.message import Message
from prompts.sandbox import INPUT, LABEL, fill
from prompts.template import Example, Template


def render(
    template: Template,
    turns: Sequence[Message],
    values: Mapping[str, str],
    question: Mapping[str, str] | None = None,
    examples: Sequence[Example] | None = None,
) -> list[Message]:
    """System message, examples, then `turns` with every user turn as `# user` wraps it.

    `question` is what `# user` may use beside the inputs, such as the label that is asked about.
    `examples` are said in place of the template's own.

    Raises `InputsInvalid` naming all inputs that are missing or unknown at once.
    """
    inputs = complete(template, values)
    said = {**inputs, **(question or {})}
    messages = []
    if system := _section(template, "system", inputs).strip():
        messages.append(Message("system", system))
    for example in template.examples if examples is None else examples:
        messages += [
            Message("user", _said(template, example.input, {**said, **example.values})),
            Message("assistant", answer(template, example, said)),
        ]
    for turn in turns:
        messages.append(Message("user", _said(template, turn.content, said)) if turn.role == "user" else turn)
    return messages


def answer(template: Template, example: Example, question: Mapping[str, str]) -> str:
    """What an example's reply says: of a class, the first of its words."""
    if template.several:
        yes, no = (words[0] for words in template.asked.values())
        return yes if question.get(LABEL) in named(example.output) else no
    return template.labels[example.output][0] if template.labels else example.output


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
