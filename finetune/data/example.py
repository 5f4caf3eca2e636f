"""One example of a dataset: a conversation and which of its replies are learned."""

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
"""Purpose of a dataset: imitate replies, prefer one to another, learn from ratings, choose a class, mark entities."""
Entity = tuple[int, int, str]
"""(start, end, type), in characters."""
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation with what is learned from it.

    `supervised`: the replies at the indices in `trained`. `preference`: the last reply rather than `rejected`.
    `kto`: the last reply, liked or (not `good`) disliked. `label`: the last reply is the right class of `choices`.
    `entities`: the spans of the types in `choices` in the only message.
    """

    messages: tuple[Message, ...]
    trained: frozenset[int]
    """Indices in `messages` of the replies that are learned; the others are context."""
    rejected: str = ""
    good: bool = True
    choices: tuple[tuple[str, ...], ...] = ()
    """Words of each class; the last reply is the right class's first word, and that class comes first."""
    entities: tuple[Entity, ...] = ()
    """In order, without overlaps."""

    def as_json(self) -> str:
        """One line of JSON; equal examples give equal lines."""
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
        """Context of the reply at index `place`: the earlier messages, without the reasoning of replies."""
        return without_reasoning(self.messages[:place])

    @classmethod
    def from_json(cls, line: str) -> "Example":
        """Read what `as_json` wrote."""
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
        """Length of its texts, in characters."""
        return sum(len(one.content) for one in self.messages) + len(self.rejected)


def without_reasoning(messages: Sequence[Message]) -> list[Message]:
    """The messages with each reply's reasoning removed, as a chat template passes earlier replies."""
    return [Message(one.role, answer(one.content)) if one.role == "assistant" else one for one in messages]


def hash_of(body: str) -> str:
    """SHA-256 of an example's JSON."""
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()


def labelled(template: Template, text: str, classes: Sequence[str], values: Mapping[str, str]) -> Iterator[Example]:
    """The text as one example; where the template allows several classes, a yes-or-no example for each class.

    Raises `InputsInvalid` for missing or unknown `values`, `TrainingRefused` unless exactly one class is given where
    the template asks for one.
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
