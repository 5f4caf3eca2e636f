"""What is wrong with a template that can be read: by itself, and for the model it is to be used with."""

from dataclasses import dataclass
from itertools import combinations

from assistant.client import Client
from assistant.engine.generate.sampling import Sampling, SamplingError
from assistant.events import Tokenized
from assistant.tasks.shots import Shots
from prompts import labels
from prompts.message import Message
from prompts.render import answer, render
from prompts.sandbox import LABEL
from prompts.template import Template, line_of


@dataclass(frozen=True, slots=True)
class Finding:
    """`error`: it can't work so; else it may do worse than it could."""

    line: int
    text: str
    error: bool


def alone(template: Template) -> list[Finding]:
    """What needs no model."""
    found = [*_sampling(template), *_answers(template)]
    if template.data is not None and not template.data.is_file():
        line = line_of(template.text, "data")
        found.append(Finding(line, f"the labelled set {template.data.name} is not there", True))
    return found


async def with_model(template: Template, client: Client, model: str) -> list[Finding]:
    """What depends on the model's tokens and context. Raises `ModelUnsupported` for one that lives elsewhere."""
    return [*await _words(template, client, model), *await _examples(template, client, model)]


def _sampling(template: Template) -> list[Finding]:
    line = line_of(template.text, "sampling")
    try:
        sampling = Sampling().replace(template.sampling)
    except SamplingError as error:
        return [Finding(line, str(error).rstrip("."), True)]
    if template.reasoning and template.reasoning.votes > 1 and template.sampling and not sampling.temperature:
        return [Finding(line, f"at temperature 0 all {template.reasoning.votes} votes would be the same", True)]
    return []


def _answers(template: Template) -> list[Finding]:
    """Examples whose answer the template's own rule doesn't find."""
    if template.reasoning is None:
        return []
    found = []
    for one in template.examples:
        reply = answer(template, one, {})
        _, said = template.reasoning.read(reply)
        right = labels.said(template.labels, said) == one.output if template.labels else bool(said)
        if not right:
            line = line_of(template.text, "examples")
            found.append(Finding(line, f"the rule of reasoning reads {said!r} in the example {reply[-60:]!r}", True))
    return found


async def _words(template: Template, client: Client, model: str) -> list[Finding]:
    """Words of different classes that begin alike, and words that are no whole tokens."""
    if not template.labels or template.reasoning:
        return []
    owners = [(name, word) for name, words in template.asked.items() for word in words]
    told = await client.tokenize(model, texts=[word for _, word in owners])
    return [*_alike(template, owners, told), *_broken(template, owners, told)]


def _alike(template: Template, owners: list[tuple[str, str]], told: Tokenized) -> list[Finding]:
    firsts = zip(owners, told.ids, told.pieces, strict=True)
    return [
        Finding(_line_of_word(template, word), f"{word!r} and {other!r} begin with the same token {pieces[0]!r}", False)
        for ((name, word), ids, pieces), ((another, other), others, _) in combinations(firsts, 2)
        if name != another and ids[:1] == others[:1]
    ]


def _broken(template: Template, owners: list[tuple[str, str]], told: Tokenized) -> list[Finding]:
    found = []
    for (_, word), pieces in zip(owners, told.pieces, strict=True):
        line = _line_of_word(template, word)
        if "".join(pieces).strip() != word.strip():
            found.append(Finding(line, f"the model has no tokens for {word!r}; choose another word", True))
        elif "" in pieces:
            found.append(Finding(line, f"the model spells {word!r} in parts of characters; it hardly knows it", False))
    return found


async def _examples(template: Template, client: Client, model: str) -> list[Finding]:
    """Examples that leave no room for an input."""
    if not template.examples:
        return []
    given = {one.name: one.default or "x" for one in template.inputs}
    question = {LABEL: next(iter(template.labels))} if template.several else {}
    told = await client.tokenize(model, render(template, [Message("user", "x")], given, question))
    tokens, context = len(told.ids[0]), told.context_tokens
    room = Shots.room(context, Sampling().replace(template.sampling).max_tokens)
    if tokens < room:
        return []
    line = line_of(template.text, "examples")
    return [
        Finding(line, f"with its examples the prompt has {tokens:,} tokens, {room:,} are free of {context:,}", True)
    ]


def _line_of_word(template: Template, word: str) -> int:
    """Of the labels, from where they begin on."""
    first = line_of(template.text, "labels")
    lines = template.text.splitlines()[first - 1 :]
    return next((number for number, line in enumerate(lines, first) if word in line), first)
