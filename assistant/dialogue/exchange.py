"""One exchange, from what a person typed to a stored reply.

The screen and the one-shot command both speak through this. What was typed is stored before anything is asked, the
reply is stored as it grows, and whatever ends it (the model, the person, a crash) leaves a row that says so.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from sqlite_utils import Database

from assistant import __version__
from assistant.adapters.speakers import BASE, Speaker, speaker_of
from assistant.adapters.speakers import speaker as speaker_for
from assistant.client import Client
from assistant.dialogue.outcome import continued_from, outcome_of, state_of
from assistant.engine.generate.sampling import Sampling
from assistant.errors import AdapterError, AdapterUnknown, AssistantError, EngineDied, StoreError
from assistant.events import Event
from assistant.growing import Growing
from assistant.settings import Settings
from assistant.store import conversations, messages
from assistant.store.conversations import Conversation
from assistant.store.messages import Provenance, StoredMessage
from prompts.library import Library
from prompts.message import Message
from prompts.reasoning import answer
from prompts.render import render
from prompts.template import Template

STORE_EVERY_S = 0.5
"""How often a growing reply is written: at most this much of it can be lost with the process."""

HEARTBEAT_S = 2.0
"""How often a reply that doesn't grow is touched, so that other windows know that its writer lives."""


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The reply has its row. `user_id` is the row of what was typed, None where nothing new was typed. `growing` holds
    what a continued reply had before; the steps that follow are added to it by `take`.
    """

    message_id: int
    user_id: int | None
    growing: Growing


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The reply is stored as it will stay. `state` is that of the row, `error` a sentence or empty."""

    message_id: int
    state: str
    error: str = ""


Step = ReplyStarted | Event | ReplyEnded


@dataclass(frozen=True, slots=True)
class Maker:
    """What one reply is made with in place of what its conversation is set to. `adapter`: an adapter's name, or empty
    for the base alone.
    """

    model: str
    template: str
    inputs: Mapping[str, str]
    sampling: Mapping[str, Any]
    adapter: str = ""


def sampling_for(settings: Settings, template: Template, conversation: Conversation) -> Sampling:
    """The conversation's own values over the template's over those of `config.toml`.

    Raises `SamplingError` for unknown names and bad values.
    """
    return Sampling().replace(settings.sampling).replace(template.sampling).replace(conversation.sampling)


def turns(path: Sequence[StoredMessage]) -> list[Message]:
    """The turns of a conversation as a model should read them: alternating, none empty, without old reasoning.

    A reply that failed has no text; what was typed before and after it becomes one turn.
    """
    return [turn for turn, _ in turns_with_rows(path)]


def turns_with_rows(path: Sequence[StoredMessage]) -> list[tuple[Message, list[StoredMessage]]]:
    """As `turns`, each with the stored messages that it is made of."""
    said: list[tuple[Message, list[StoredMessage]]] = []
    for row in path:
        content = answer(row.content) if row.role == "assistant" else row.content
        if not content.strip():
            continue
        if said and said[-1][0].role == row.role:
            last, rows = said[-1]
            said[-1] = replace(last, content=f"{last.content}\n\n{content}"), [*rows, row]
        else:
            said.append((Message("assistant" if row.role == "assistant" else "user", content), [row]))
    return said


class Dialogue:
    """The exchanges of one log. A private conversation gets a Dialogue of its own, over a log in memory.

    Every method that makes a reply is an async iterator of steps. Closing it, or cancelling the task that
    reads it, stops the model within one token and keeps what was said. Trouble with the template, the
    sampling or the log is raised before anything is stored or asked; trouble with the engine arrives as
    `ReplyEnded` with an error.
    """

    def __init__(
        self,
        db: Database,
        client: Client,
        library: Library,
        settings: Settings,
        *,
        registry: Database | None = None,
    ) -> None:
        """`registry`: the log in which adapters are registered, where that is another one."""
        self._db = db
        self._registry = registry or db
        self._client = client
        self._library = library
        self._settings = settings

    async def send(self, conversation_id: int, text: str, *, parent_id: int | None) -> AsyncGenerator[Step, None]:
        """Say `text` after message `parent_id` (None: as the first one), and reply to it."""
        conversation = conversations.get(self._db, conversation_id)
        path = messages.path(self._db, parent_id) if parent_id is not None else []
        self._request(conversation, [*turns(path), Message("user", text)])
        user_id = messages.add_user(self._db, conversation_id, parent_id, text)
        if not path:
            conversations.title_from(self._db, conversation_id, text)
        async with aclosing(self._reply(conversation, user_id, user_id=user_id)) as steps:
            async for step in steps:
                yield step

    async def edit(self, message_id: int, text: str) -> AsyncGenerator[Step, None]:
        """Say `text` in place of what a person said in `message_id`: a sibling of it, with a reply of its own."""
        old = messages.get(self._db, message_id)
        async with aclosing(self.send(old.conversation_id, text, parent_id=old.parent_id)) as steps:
            async for step in steps:
                yield step

    async def regenerate(self, message_id: int, *, maker: Maker | None = None) -> AsyncGenerator[Step, None]:
        """Another reply to the same message, by `maker` where one is given: a sibling of reply `message_id`."""
        old = messages.get(self._db, message_id)
        async with aclosing(self._made(old.conversation_id, old.parent_id, maker)) as steps:
            async for step in steps:
                yield step

    async def answer(self, message_id: int, maker: Maker) -> AsyncGenerator[Step, None]:
        """A reply by `maker` to what a person said in `message_id`."""
        said = messages.get(self._db, message_id)
        async with aclosing(self._made(said.conversation_id, said.id, maker)) as steps:
            async for step in steps:
                yield step

    def _made(self, conversation_id: int, parent_id: int | None, maker: Maker | None) -> AsyncGenerator[Step, None]:
        conversation = conversations.get(self._db, conversation_id)
        if maker is not None:
            conversation = replace(
                conversation,
                model=maker.model,
                template=maker.template,
                inputs=dict(maker.inputs),
                sampling=dict(maker.sampling),
                adapter=maker.adapter,
            )
        return self._reply(conversation, parent_id)

    async def continue_reply(self, message_id: int) -> AsyncGenerator[Step, None]:
        """Go on with a reply that was cut, stopped or interrupted, in its own row and with the model and adapter that
        began it. Raises `AdapterUnknown` where that adapter isn't registered.
        """
        old = messages.get(self._db, message_id)
        conversation = conversations.get(self._db, old.conversation_id)
        speaker = None
        if messages.was_generated(self._db, message_id):
            made = messages.reply_info(self._db, message_id).provenance
            speaker = speaker_of(self._registry.conn, made.adapter_hash)
            conversation = replace(conversation, model=made.model)
        async with aclosing(self._reply(conversation, old.parent_id, continued=old, speaker=speaker)) as steps:
            async for step in steps:
                yield step

    def _request(self, conversation: Conversation, said: list[Message]) -> tuple[Template, list[Message], Sampling]:
        template = self._library.find(conversation.template or self._settings.template)
        sampling = sampling_for(self._settings, template, conversation)
        if sampling.seed is None:  # chosen here, so that even a reply that is cut off can be made again
            sampling = replace(sampling, seed=secrets.randbelow(2**31))
        return template, render(template, said, conversation.inputs), sampling

    async def _reply(
        self,
        conversation: Conversation,
        parent_id: int | None,
        *,
        user_id: int | None = None,
        continued: StoredMessage | None = None,
        speaker: Speaker | None = None,
    ) -> AsyncGenerator[Step, None]:
        said = turns(messages.path(self._db, parent_id)) if parent_id is not None else []
        template, prompt, sampling = self._request(conversation, said)
        trouble: AdapterError | None = None
        try:
            speaker = speaker or speaker_for(self._registry.conn, conversation.model, conversation.adapter)
        except AdapterError as unusable:  # shown like an error of the engine, so that what was typed is kept
            speaker, trouble = BASE, unusable
        growing = Growing()
        if continued is None:
            provenance = Provenance(
                model=conversation.model,
                template=template.name,
                template_hash=template.hash,
                template_text=template.text,
                sampling=sampling.as_dict(),
                seed=sampling.seed,
                inputs=conversation.inputs,
                version=__version__,
                adapter_hash=speaker.hash or speaker.name,
            )
            message_id = messages.begin_reply(self._db, conversation.id, parent_id, provenance)
        else:
            message_id, growing.text = continued.id, continued.content
            if messages.was_generated(self._db, message_id):
                growing = continued_from(continued.content, messages.reply_info(self._db, message_id).outcome)
            messages.resume_reply(self._db, message_id)
            prompt.append(Message("assistant", continued.content))
        state, error = "stopped", ""  # how it ends when whoever reads us goes away
        keeper = asyncio.create_task(self._keep(message_id, growing))
        try:
            yield ReplyStarted(message_id, user_id, deepcopy(growing))
            if trouble is not None:
                raise trouble
            chat = self._client.chat(
                conversation.model, prompt, sampling, continue_final=continued is not None, speaker=speaker
            )
            async with aclosing(chat) as events:
                async for event in events:
                    growing.take(event)
                    yield event
            state = state_of(growing)
        except StoreError:
            raise
        except AssistantError as failure:
            state = "interrupted" if growing.text or isinstance(failure, EngineDied) else "failed"
            error = str(failure)
        finally:
            keeper.cancel()
            if growing.finished and growing.finished.adapter_hash:
                messages.name_adapter(self._db, message_id, growing.finished.adapter_hash)
            messages.end_reply(self._db, message_id, growing.text, state, outcome_of(growing), error)
        yield ReplyEnded(message_id, state, error)

    async def _keep(self, message_id: int, growing: Growing) -> None:
        """Write the reply as it grows, until cancelled. A full disk is no reason to stop talking: the end will tell."""
        stored, touched_s = "", 0.0
        while True:
            if growing.text != stored or time.monotonic() - touched_s >= HEARTBEAT_S:
                stored, touched_s = growing.text, time.monotonic()
                with contextlib.suppress(StoreError):
                    messages.grow_reply(self._db, message_id, stored)
            await asyncio.sleep(STORE_EVERY_S)


def follow_branch(db: Database, registry: Database, conversation_id: int) -> None:
    """Set a conversation that is set to an adapter, or to the base, to what made the last reply of its open branch."""
    conversation = conversations.get(db, conversation_id)
    if conversation.adapter is None or conversation.leaf_id is None:
        return
    for row in reversed(messages.path(db, conversation.leaf_id)):
        if row.role == "assistant" and messages.was_generated(db, row.id):
            made = messages.reply_info(db, row.id).provenance
            with contextlib.suppress(AdapterUnknown):
                speaker = speaker_of(registry.conn, made.adapter_hash)
                if made.model == conversation.model:
                    conversations.pick_adapter(db, conversation_id, speaker.name)
            return
