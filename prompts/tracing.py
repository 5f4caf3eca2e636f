"""Trace the variables of a template into the messages that it renders to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from prompts.message import Message, Role
from prompts.render import render
from prompts.sandbox import INPUT, LABEL, environment
from prompts.template import Template

_BEGIN, _NAMED, _END = "\ufdd1", "\ufdd2", "\ufdd3"
"""Noncharacters of Unicode, which don't occur in text: `begin name named text end`."""


class Span(NamedTuple):
    """Characters `start` to `end` of a message, the value of variable `name`."""

    start: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Traced:
    """A message with the spans of its variables, in order and without overlaps."""

    message: Message
    spans: tuple[Span, ...] = ()


def traced(
    template: Template, turns: Sequence[Message], values: Mapping[str, str], question: Mapping[str, str] | None = None
) -> list[Traced]:
    """The messages of `render` with their variables. Raises the errors of `render`.

    A message whose variables can't be traced, such as one that sets variables itself, has none.
    """
    messages = render(template, turns, values, question)
    names = {one.name for one in template.inputs} | {INPUT, LABEL}
    sections = {role: _marked(source, names) for role, source in template.sections.items()}
    marked = render(replace(template, sections=sections), turns, values, question)
    found = [_read(one.role, one.content) for one in marked]
    found = [one for one in found if one.message.role != "system" or one.message.content.strip()]
    return [told if told.message == plain else Traced(plain) for told, plain in zip(found, messages, strict=True)]


def _marked(source: str, names: set[str]) -> str:
    """`source` with marks around each `{{ … }}` that contains one of `names`."""
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
    """Parse a marked message. Unpaired marks stay in its text, which then differs from the rendered one."""
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
