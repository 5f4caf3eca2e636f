"""Render a template with inputs and turns to messages. User text is inserted as text and never rendered."""

from collections.abc import Mapping, Sequence

from prompts.errors import InputsInvalid
from prompts.filters import Cut
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
    cut: Cut | None = None,
) -> list[Message]:
    """The system message, the examples, then `turns` with each user turn wrapped by `# user`.

    `question`: further variables of `# user`, such as the label that is asked about. `examples`: used in place of the
    template's own. Filters apply to all inputs, also in examples; a filter's token limit is applied by `cut`, if given,
    and never in examples.

    Raises `InputsInvalid` with all missing or all unknown inputs.
    """
    inputs = {name: _filtered(template, name, text, cut) for name, text in complete(template, values).items()}
    said = {**inputs, **(question or {})}
    messages = []
    if system := _section(template, "system", inputs).strip():
        messages.append(Message("system", system))
    for example in template.examples if examples is None else examples:
        messages += [
            Message("user", _said(template, example.input, said | _own(template, example))),
            Message("assistant", answer(template, example, said)),
        ]
    for turn in turns:
        messages.append(Message("user", _said(template, turn.content, said, cut)) if turn.role == "user" else turn)
    return messages


def answer(template: Template, example: Example, question: Mapping[str, str]) -> str:
    """Reply of an example: its reasoning, then the output, or the first word of its class."""
    if template.several:
        yes, no = (words[0] for words in template.asked.values())
        return yes if question.get(LABEL) in named(example.output) else no
    output = template.labels[example.output][0] if template.labels else example.output
    return f"{example.reasoning.rstrip()} {output}" if example.reasoning else output


def complete(template: Template, values: Mapping[str, str]) -> dict[str, str]:
    """`values` with defaults for missing inputs. Raises `InputsInvalid`."""
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


def _own(template: Template, example: Example) -> dict[str, str]:
    return {name: _filtered(template, name, text, None) for name, text in example.values.items()}


def _filtered(template: Template, name: str, text: str, cut: Cut | None) -> str:
    filters = template.filters.get(name)
    if filters is None:
        return text
    text = filters.apply(text)
    return cut(text, filters.tokens) if cut and filters.tokens else text


def _said(template: Template, text: str, inputs: Mapping[str, str], cut: Cut | None = None) -> str:
    text = _filtered(template, INPUT, text, cut)
    return _section(template, "user", {**inputs, INPUT: text}) if "user" in template.sections else text
