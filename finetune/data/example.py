"""What one conversation teaches, as a dataset holds it and as the trainer reads it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assistant.errors import TrainingRefused
from prompts.message import Message
from prompts.reasoning import answer
from prompts.render import render
from prompts.sandbox import LABEL
from prompts.template import Template

Kind = Literal["supervised", "preference", "kto", "label", "entities"]
"""What a dataset is for: imitate replies, prefer one to another, judge single ones, name a class, or find entities."""
Entity = tuple[int, int, str]
"""Start and end in characters, and the type."""
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation and what is learned from it.

    `supervised`: the replies at the places in `trained`. `preference`: the last reply rather than `rejected`.
    `kto`: the last reply where `good`, else anything but it. `label`: the last reply is the right one of `choices`.
    `entities`: what the one message holds of the types in `choices`.
    """

    messages: tuple[Message, ...]
    trained: frozenset[int]
    """Places in `messages` of the replies that are learned; the others are only read."""
    rejected: str = ""
    good: bool = True
    choices: tuple[tuple[str, ...], ...] = ()
    """Each class's words; the first of them is what the last reply says."""
    entities: tuple[Entity, ...] = ()
    """In order, none inside another."""

    def as_json(self) -> str:
        """One line; like examples give like lines."""
        said = [
            {"role": one.role, "content": one.content, **({"trained": True} if place in self.trained else {})}
            for place, one in enumerate(self.messages)
        ]
        fields: dict[str, Any] = {"messages": said}
        if self.rejected:
            fields["rejected"] = self.rejected
        if not self.good:
            fields["good"] = False
        if self.choices:
            fields["choices"] = self.choices
        if self.entities:
            fields["entities"] = self.entities
        return json.dumps(fields, ensure_ascii=False)

    def before(self, place: int) -> list[Message]:
        """What a model reads before the reply at `place`: the older replies without their reasoning."""
        return without_reasoning(self.messages[:place])

    @classmethod
    def from_json(cls, line: str) -> "Example":
        """What `as_json` wrote."""
        fields: Mapping[str, Any] = json.loads(line)
        said = fields["messages"]
        return cls(
            tuple(Message(one["role"], one["content"]) for one in said),
            frozenset(place for place, one in enumerate(said) if one.get("trained")),
            fields.get("rejected", ""),
            fields.get("good", True),
            tuple(tuple(words) for words in fields.get("choices", ())),
            tuple((start, end, kind) for start, end, kind in fields.get("entities", ())),
        )

    @property
    def hash(self) -> str:
        """SHA-256 of `as_json`."""
        return hash_of(self.as_json())

    @property
    def characters(self) -> int:
        """How long its text is."""
        return sum(len(one.content) for one in self.messages) + len(self.rejected)


def without_reasoning(messages: Sequence[Message]) -> list[Message]:
    """A conversation as it is read when it goes on: of each reply the answer alone."""
    return [Message(one.role, answer(one.content)) if one.role == "assistant" else one for one in messages]


def hash_of(body: str) -> str:
    """SHA-256 of an example's JSON."""
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()


def labelled(template: Template, text: str, classes: Sequence[str], values: Mapping[str, str]) -> Iterator[Example]:
    """The text as one example; where the template allows several classes, one yes-or-no example for each class.

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
