"""A reply made again with what it was made with, and compared with what is stored."""

import hashlib
from contextlib import aclosing
from dataclasses import dataclass, replace

from sqlite_utils import Database

from assistant import __version__
from assistant.adapters.speakers import Folders, Speaker, speaker_of
from assistant.client import Client
from assistant.dialogue.exchange import turns
from assistant.dialogue.outcome import outcome_of, state_of
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Remote
from assistant.errors import AdapterUnknown, ModelUnknown, ReplayRefused
from assistant.events import Finished, Prefilled
from assistant.growing import Growing
from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.database import select, transaction
from assistant.store.messages import ReplyInfo, StoredMessage
from prompts import template as templates
from prompts.errors import PromptError
from prompts.message import Message
from prompts.render import render

PARTS = ("stopped", "interrupted")
"""States of a reply that would have gone on: of what is made again the beginning is compared."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reply was asked with."""

    row: StoredMessage
    info: ReplyInfo
    prompt: list[Message]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Replayed:
    """`stored` and `text` are what is compared: of a reply that was stopped or continued, the first part alone."""

    stored: str
    text: str
    whole: bool
    """Whether `stored` is all that the model said."""
    notes: tuple[str, ...] = ()
    """What could not be checked."""
    message_id: int | None = None
    """The new reply, where it was stored."""

    @property
    def same(self) -> bool:
        return self.text == self.stored if self.whole else self.text.startswith(self.stored)

    @property
    def differs_at(self) -> int | None:
        """The first character that is another one; None where the texts are the same."""
        if self.same:
            return None
        pairs = enumerate(zip(self.stored, self.text, strict=False))
        return next((at for at, (one, other) in pairs if one != other), min(len(self.stored), len(self.text)))


def asked(db: Database, message_id: int) -> Asked:
    """What a reply was asked with. Raises `ReplayRefused` where that is not known any more."""
    row = messages.get(db, message_id)
    if row.role != "assistant" or row.state in ("growing", "failed"):
        raise ReplayRefused(f"Message {message_id} is no reply that has ended with a text.")
    if not messages.was_generated(db, message_id):
        how = "a person's correction" if row.corrects_id is not None else "imported"
        raise ReplayRefused(f"Reply {message_id} is {how}: nothing is known of how it was made.")
    info = messages.reply_info(db, message_id)
    if not (text := info.provenance.template_text):
        raise ReplayRefused(f"Reply {message_id} was imported without its template: its prompt is not known.")
    if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() != info.provenance.template_hash:
        raise ReplayRefused(f"The template of reply {message_id} was redacted since.")
    path = messages.path(db, row.parent_id) if row.parent_id is not None else []
    marks = ", ".join("?" * (len(path) + 1))
    said = [row.id, *(one.id for one in path)]
    if changed := select(db, f"SELECT id FROM messages WHERE redacted AND id IN ({marks})", said):
        raise ReplayRefused(f"Message {changed[0][0]} was redacted since: reply {message_id} can't be compared.")
    return Asked(row, info, _prompt(db, row, info, path), Sampling().replace(info.provenance.sampling))


def _prompt(db: Database, row: StoredMessage, info: ReplyInfo, path: list[StoredMessage]) -> list[Message]:
    given = info.provenance.inputs or conversations.get(db, row.conversation_id).inputs
    try:
        template = templates.parse(info.provenance.template_text, name="stored")
        known = {one.name for one in template.inputs}
        return render(template, turns(path), {name: value for name, value in given.items() if name in known})
    except PromptError as error:
        raise ReplayRefused(f"The template of reply {row.id} can't be filled any more: {error}") from error


async def replay(db: Database, client: Client, paths: Paths, message_id: int, *, store: bool = False) -> Replayed:
    """Make a reply again, with `store` as a sibling of it that isn't opened.

    Raises `ReplayRefused` where it can't be the same for a reason that is known: no seed, another model or adapter than
    it was, a prompt that is cut elsewhere. Trouble with the engine is raised as `Client.chat` does.
    """
    then = asked(db, message_id)
    made, outcome = then.info.provenance, then.info.outcome
    if made.seed is None and then.sampling.temperature > 0:
        raise ReplayRefused(f"Reply {message_id} was made without a seed: another choice of words proves nothing.")
    _refuse_absent(paths, made.model)
    sampling = replace(then.sampling, seed=made.seed)
    part = then.row.content if outcome.continued_at is None else then.row.content[: outcome.continued_at]
    whole = outcome.continued_at is None and then.row.state not in PARTS
    speaker = speaker_then(db, paths, then)
    growing = Growing()
    async with aclosing(client.chat(made.model, then.prompt, sampling, speaker=speaker)) as events:
        async for event in events:
            growing.take(event)
            if isinstance(event, Prefilled) and event.dropped_messages != outcome.dropped_messages:
                raise ReplayRefused(
                    f"The context lost {outcome.dropped_messages} of its oldest messages then and "
                    f"{event.dropped_messages} now: its window had {outcome.context_tokens:,} tokens and has "
                    f"{event.context_tokens:,}."
                )
            if isinstance(event, Finished):
                _refuse_other(event, then.info)
            enough = len(growing.text) > len(part) and not whole and not outcome.model_hash
            if enough and not store:  # else it goes on, to learn which weights spoke
                break
    stored_as = _store(db, then, growing) if store else None
    return Replayed(part, growing.text, whole, _notes(then, whole), stored_as)


def _refuse_absent(paths: Paths, model: str) -> None:
    try:
        found = catalogue.find(paths, model)
    except ModelUnknown as error:
        raise ReplayRefused(f"The model {model!r} that made the reply is not here any more: {error}") from error
    if isinstance(found, Remote):
        raise ReplayRefused(f"{model} runs on another server: whether it is still the same can't be known.")


def _refuse_other(now: Finished, then: ReplyInfo) -> None:
    was = then.outcome.model_hash
    if was and now.model_hash != was:
        raise ReplayRefused(
            f"The model {then.provenance.model!r} has other weights now: "
            f"they were {was[:12]} and are {now.model_hash[:12]}."
        )


def speaker_then(db: Database, paths: Paths, then: Asked) -> Speaker:
    """Who made a reply. Raises `ReplayRefused` where its adapter is gone or was changed."""
    try:
        return speaker_of(db.conn, then.info.provenance.adapter_hash, Folders(paths.adapters))
    except AdapterUnknown as error:
        raise ReplayRefused(str(error)) from error


def _notes(then: Asked, whole: bool) -> tuple[str, ...]:
    notes = []
    if then.info.outcome.continued_at is not None:
        notes.append("it was continued: what came before that is compared")
    elif not whole:
        notes.append(f"it was {then.row.state}: its beginning is compared")
    if not then.info.outcome.model_hash:
        notes.append("which weights made it was not stored")
    if not then.info.provenance.inputs and then.prompt and "inputs:" in then.info.provenance.template_text:
        notes.append("the template is filled with what the conversation has now")
    return tuple(notes)


def _store(db: Database, then: Asked, growing: Growing) -> int:
    with transaction(db):
        leaf = conversations.get(db, then.row.conversation_id).leaf_id
        made = replace(then.info.provenance, version=__version__)
        message_id = messages.begin_reply(db, then.row.conversation_id, then.row.parent_id, made)
        messages.end_reply(db, message_id, growing.text, state_of(growing), outcome_of(growing))
        if leaf is not None:
            messages.open_leaf(db, then.row.conversation_id, leaf)
    return message_id
