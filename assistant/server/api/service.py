"""What the endpoints share: which model and adapter a request names, and the events of its answer."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from starlette.requests import Request as HttpRequest

from assistant.adapters.speakers import Chosen, Speakers, parsed
from assistant.engine.request import Adapted, Request
from assistant.events import Event
from assistant.server.api.body import Spoken
from assistant.server.embedding import Embedding
from assistant.server.stream import unless_gone
from assistant.server.worker import Worker

Names = Callable[[], Sequence[str]]
"""The models there are."""
Check = Callable[[str], None]
"""Raises a `ModelError` for a name that can't be asked for."""


@dataclass(frozen=True, slots=True)
class Service:
    """The threads that run models, and the models and adapters that a request may name."""

    worker: Worker
    embedding: Embedding
    names: Names
    check: Check
    speakers: Speakers

    async def choose(self, asked: Spoken) -> Chosen:
        """The model and the adapter that a request asks for. Raises `ModelError` and `AdapterError`."""
        chosen = await asyncio.to_thread(
            self.speakers.chosen, asked.model, self.names, asked.adapter, asked.adapter_hash
        )  # the log may be on a slow disk
        self.check(chosen.model)
        return chosen

    def named(self, id_: str) -> tuple[str, str | None]:
        """(model, adapter or None) of an id. Raises a `ModelError` for a model that can't be asked for."""
        model, adapter = parsed(id_, self.names)
        self.check(model)
        return model, adapter

    def answers(self, chosen: Chosen, requests: Sequence[Adapted]) -> AsyncGenerator[Event]:
        """The events of requests to the chosen model with the chosen adapter. Raises `AssistantError`."""

        def checked() -> list[Request]:
            adapter = chosen.folder()
            return [replace(one, adapter=adapter) for one in requests]

        return self.worker.stream(chosen.model, checked)


async def whole(http: HttpRequest, events: AsyncGenerator[Event]) -> list[Event]:
    """All events of an answer. Raises `ClientDisconnect` where the client goes away."""

    async def read() -> list[Event]:
        return [event async for event in events]

    async with aclosing(events):
        return await unless_gone(http, read())
