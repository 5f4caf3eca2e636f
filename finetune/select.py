"""The log -> candidates: which replies are learned, which are only read, and where each came from."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from sqlite_utils import Database

from assistant.dialogue import turns, turns_with_rows
from assistant.store import conversations, search
from assistant.store.exchange import kto, preference, stored
from assistant.store.exchange.stored import Stored
from assistant.store.filter import EVERYTHING, Filter
from assistant.store.messages import StoredMessage
from finetune.example import Example, Kind
from finetune.labelled import labelled
from prompts import template as templates
from prompts.errors import PromptError
from prompts.message import Message
from prompts.render import render
from prompts.template import Template


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example that may come into a dataset."""

    example: Example
    conversation: str
    """What the conversation is known again by: none may be in two parts, nor what was tested be trained on."""
    message_id: int | None = None
    """The reply it was made of, its last one; None from a file."""
    rejected_id: int | None = None
    said: str = ""
    """What near-duplicates are told by, where a template's words surround it; empty: the example's own words."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be learned from a log. `everything`: what isn't judged too, but nothing bad or skipped."""

    kind: Kind = "supervised"
    filter: Filter = EVERYTHING
    everything: bool = False
    template: Template | None = None
    """Of the kind `label`: how the question is put, and its classes."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Inputs of that template."""
    words: str = ""
    """What a reply or its prompt must say, as the log is searched."""


def from_log(db: Database, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:
    """The candidates of every conversation, oldest first. Counts in `left` what is left out, by the reason."""
    ids = sorted(one.id for one in conversations.page(db, 0, -1))
    among = search.all_replies(db, wanted.words, wanted.filter) if wanted.words else None
    for conversation in stored.read(db, ids, filter_=wanted.filter, among=among):
        yield from (one for one in _OF_KIND[wanted.kind](conversation, wanted, left) if _asks(one.example))


def _asks(example: Example) -> bool:
    """Whether each learned reply answers something: the engine makes no reply to nothing."""
    return all(place and example.messages[place - 1].role == "user" for place in example.trained)


# -- replies to imitate -------------------------------------------------------------------------------------------


def _supervised(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:
    learned = _learned(conversation, wanted, left)
    taught: set[int] = set()
    for path in conversation.paths_to(learned):
        new = [row for row in path if row.id in learned and row.id not in taught]
        taught.update(row.id for row in new)
        reasoned = [row for row in new if _reasons(row)]
        plain = [row for row in new if not _reasons(row)]
        # Later turns don't read a reply's reasoning, so that a reply with it is learned by itself.
        for row in reasoned:
            yield _reply(conversation, row)
        if plain:
            yield from _replies(conversation, path[: path.index(plain[-1]) + 1], {row.id for row in plain})


def _learned(conversation: Stored, wanted: Selection, left: Counter[str]) -> set[int]:
    """The replies to imitate: good, kept or corrections; with `everything` others that are open or pass a filter."""
    corrected = {row.corrects_id for row in conversation.rows if row.corrects_id is not None}
    open_path = {row.id for row in conversation.path}
    learned = set()
    for row in conversation.rows:
        if row.role != "assistant" or not conversation.is_chosen(row.id):
            continue
        judgement = conversation.judgement(row.id)
        praised = judgement.rating > 0 or judgement.decision == "keep" or row.corrects_id is not None
        reachable = conversation.chosen is not None or row.id in open_path
        if not praised and not (wanted.everything and reachable):
            continue
        if judgement.rating < 0 or judgement.decision == "skip":
            left["replies rated bad or skipped"] += 1
        elif row.state != "complete" or not row.content.strip():
            left["replies cut, stopped or failed"] += 1
        elif row.id in corrected and not praised:
            left["replies that a correction stands for"] += 1
        else:
            learned.add(row.id)
    return learned


def _reasons(row: StoredMessage) -> bool:
    (told,) = turns([row]) or [Message("assistant", "")]
    return told.content != row.content


def _replies(conversation: Stored, path: Sequence[StoredMessage], learned: set[int]) -> Iterator[Candidate]:
    told = turns_with_rows(path)
    messages, said = _asked(conversation, path, path)
    before = len(messages) - len(told)
    places = frozenset(
        before + place for place, (_, rows) in enumerate(told) if len(rows) == 1 and rows[0].id in learned
    )
    if places:
        yield Candidate(Example(tuple(messages), places), _key(conversation), path[-1].id, said=said)


def _reply(conversation: Stored, row: StoredMessage) -> Candidate:
    """One reply with what led to it."""
    path = conversation.path_to(row.id)
    prompt, said = _asked(conversation, path[:-1], path)
    messages = (*prompt, Message("assistant", row.content))
    said = f"{said}\n\n{row.content}" if said else ""
    return Candidate(Example(messages, frozenset({len(prompt)})), _key(conversation), row.id, said=said)


def _asked(
    conversation: Stored, path: Sequence[StoredMessage], made: Sequence[StoredMessage]
) -> tuple[list[Message], str]:
    """A path as the engine reads it, by the template that the last of `made` was made with; and its bare words, where
    the template says more than a system message."""
    said = turns(path)
    text = next((conversation.made_under[row.id] for row in reversed(made) if row.id in conversation.made_under), "")
    template = None if conversation.fields["system"] or not text else _template(text)
    if template is not None:
        inputs = json.loads(conversation.fields["inputs"])
        known = {one.name for one in template.inputs}
        try:
            messages = render(template, said, {name: value for name, value in inputs.items() if name in known})
        except PromptError:  # an input that it needs is gone: as an export has it
            pass
        else:
            bare = messages[-len(said) :] == said and len(messages) <= len(said) + 1
            return messages, "" if bare else "\n\n".join(one.content for one in said)
    system = conversation.system
    return ([Message("system", system)] if system else []) + said, ""


@lru_cache(maxsize=256)
def _template(text: str) -> Template | None:
    try:
        return templates.parse(text, name="stored")
    except PromptError:
        return None


# -- the other kinds ----------------------------------------------------------------------------------------------


def _preference(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:  # noqa: ARG001
    for pair in preference.pairs(conversation):
        one = _reply(conversation, conversation.by_id[pair.chosen_id])
        yield replace(one, example=replace(one.example, rejected=pair.rejected), rejected_id=pair.rejected_id)


def _kto(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:  # noqa: ARG001
    for row, good in kto.labelled(conversation):
        one = _reply(conversation, row)
        yield replace(one, example=replace(one.example, good=good))


def _label(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:
    """What was asked, under the class that it or its reply is tagged with."""
    assert wanted.template is not None
    for row in conversation.rows:
        if row.role != "assistant" or row.parent_id is None or not conversation.is_chosen(row.id):
            continue
        asked = conversation.by_id[row.parent_id]
        tags = {*conversation.judgement(row.id).tags, *conversation.judgement(asked.id).tags}
        classes = [name for name in wanted.template.labels if name in tags]
        if len(classes) > 1 and not wanted.template.several:
            left["texts tagged with several classes"] += 1
        elif classes and asked.content.strip():
            for example in labelled(wanted.template, asked.content, classes, wanted.values):
                yield Candidate(example, _key(conversation), row.id, said=asked.content)


def _key(conversation: Stored) -> str:
    return f"log:{conversation.fields['id']}"


def _none(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:  # noqa: ARG001
    """Entities are marked in files alone."""
    return iter(())


_OF_KIND = {"supervised": _supervised, "preference": _preference, "kto": _kto, "label": _label, "entities": _none}
