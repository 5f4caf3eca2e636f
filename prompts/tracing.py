"""Where each variable of a template went in the messages that it renders to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from prompts.message import Message, Role
from prompts.render import render
from prompts.sandbox import INPUT, LABEL, environment
from prompts.template import Template

_BEGIN, _NAMED, _END = "\ufdd1", "\ufdd2", "\ufdd3"
"""Noncharacters of Unicode, never in real text: `begin name named text end`."""


class Span(NamedTuple):
    """The characters of a message, from `start` up to `end`, that variable `name` became."""

    start: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Traced:
    """A message, and the variables in it in order. None of them overlap."""

    message: Message
    spans: tuple[Span, ...] = ()


def traced(
    template: Template, turns: Sequence[Message], values: Mapping[str, str], question: Mapping[str, str] | None = None
) -> list[Traced]:
    """What `render` makes, with its variables. Raises as `render` does.

    A message whose variables can't be told apart, such as one that sets variables of its own, has none.
    """
    messages = render(template, turns, values, question)
    names = {one.name for one in template.inputs} | {INPUT, LABEL}
    sections = {role: _marked(source, names) for role, source in template.sections.items()}
    marked = render(replace(template, sections=sections), turns, values, question)
    found = [_read(one.role, one.content) for one in marked]
    found = [one for one in found if one.message.role != "system" or one.message.content.strip()]
    return [told if told.message == plain else Traced(plain) for told, plain in zip(found, messages, strict=True)]


def _marked(source: str, names: set[str]) -> str:
    """`source` with marks around what each `{{ … }}` with one of `names` in it becomes."""
    pieces: list[str] = []
    opened = 0
    for _, kind, text in environment().lex(source):
        if kind == "variable_begin":
            opened = len(pieces)
        elif kind == "variable_end":
            inside = pieces[opened + 1 :]
            if name := next((one for one in inside if one in names), None):
                wrapped = f'"{_BEGIN}{name}{_NAMED}" ~ ({"".join(inside)}) ~ "{_END}"'
                pieces[opened + 1 :] = [wrapped]
        pieces.append(text)
    return "".join(pieces)


def _read(role: Role, marked: str) -> Traced:
    """A message of text with marks. Its text keeps marks that aren't in pairs, and so is not what was rendered."""
    text, spans = "", []
    rest = marked
    while _BEGIN in rest:
        before, _, rest = rest.partition(_BEGIN)
        name, named, rest = rest.partition(_NAMED)
        value, end, rest = rest.partition(_END)
        if not (named and end):
            break
        spans.append(Span(len(text) + len(before), len(text) + len(before) + len(value), name))
        text += before + value
    return Traced(Message(role, text + rest), tuple(spans))
