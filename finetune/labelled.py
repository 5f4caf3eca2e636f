"""A text and its class -> an example: the question as a `label` template puts it, and the word that is right."""

from collections.abc import Iterator, Mapping, Sequence

from assistant.errors import TrainingRefused
from finetune.example import Example
from prompts.message import Message
from prompts.render import render
from prompts.sandbox import LABEL
from prompts.template import Template


def labelled(template: Template, text: str, classes: Sequence[str], values: Mapping[str, str]) -> Iterator[Example]:
    """One example, or where a text can have several classes one for each class: is it that one?

    Raises `InputsInvalid` for missing or unknown `values`, `TrainingRefused` for several classes of which one is asked.
    """
    asked = template.asked
    choices = tuple(asked.values())
    if template.several:
        yes, no = (words[0] for words in choices)
        for name in template.labels:
            answer = yes if name in classes else no
            yield _example(template, text, values, {LABEL: name}, answer, choices)
        return
    if len(classes) != 1:
        raise TrainingRefused(f"{text[:60]!r} has {len(classes)} classes, but {template.name} asks for exactly one.")
    name = classes[0]
    yield _example(template, text, values, {}, asked[name][0], choices)


def _example(
    template: Template,
    text: str,
    values: Mapping[str, str],
    question: Mapping[str, str],
    answer: str,
    choices: tuple[tuple[str, ...], ...],
) -> Example:
    prompt = render(template, [Message("user", text)], values, question)
    return Example((*prompt, Message("assistant", answer)), frozenset({len(prompt)}), choices=choices)
