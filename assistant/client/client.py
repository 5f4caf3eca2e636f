"""The engine, asked: the process of this data folder, or a server elsewhere for a model that lives there."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar

from assistant.adapters.speakers import Speaker
from assistant.client import process, remote
from assistant.client.chat import (
    answer,
    events,
    messages_body,
    own_fields,
    request_body,
    speaker_fields,
    well_formed,
)
from assistant.client.http import Endpoint, call, unanswered
from assistant.client.lease import Lease
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Remote
from assistant.errors import EngineDied, EngineUnreachable, ModelUnsupported
from assistant.events import Event, Loading, Token, Tokenized
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.wire.chunks import ChunkReader, tokenized_of, tokens_of
from assistant.wire.errors import BadAnswer
from prompts.message import Message

ATTEMPTS = 3
"""An engine that is found may be about to end; then the next one is found or started."""

Read = TypeVar("Read")


class Client:
    """One window or command, and its lease on the engine process. An async context manager.

    With `engine` that address is used, and nothing is started or looked for. Otherwise the engine process is found or
    started with the first request, and started again after it died.
    """

    def __init__(self, paths: Paths, settings: Settings, *, engine: Endpoint | None = None) -> None:
        self._paths = paths
        self._settings = settings
        self._given = engine
        self._lease: Lease | None = None
        self._attaching = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the lease back. The engine ends with the last one."""
        if self._lease is not None:
            await self._give_back(self._lease)

    @property
    def attached(self) -> bool:
        """Whether an engine is held that lives, as far as is known."""
        return self._lease is not None and self._lease.alive

    async def attach(self) -> None:
        """Find or start the engine process and hold a lease on it. Nothing to do where one is held.

        Raises `EngineUnreachable` with the reason where it doesn't start.
        """
        await self._attach()

    async def load(self, model: str) -> AsyncGenerator[Loading]:
        """Make the engine ready to answer with `model`, and tell how it goes. Nothing for a model elsewhere."""
        elsewhere, name = await self._place(model)
        if elsewhere is not None:
            return

        def ask(lease: Lease) -> AsyncGenerator[Event]:
            return events(lease.http, "/engine/load", {"model": name}, lease.endpoint, ChunkReader())

        async with aclosing(self._asked(ask)) as stages:
            async for stage in stages:
                assert isinstance(stage, Loading)
                yield stage

    async def chat(
        self,
        model: str,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        continue_final: bool = False,
        speaker: Speaker | None = None,
    ) -> AsyncGenerator[Event]:
        """The reply: any number of `Loading`, one `Prefilled`, the `Token`s, `Finished`.

        Closing the iterator stops the model within one token. With `continue_final` the reply goes on with the last
        message. `speaker`: an adapter or the base; None for what is in use. Raises `EngineUnreachable`, `EngineDied`,
        `ContextExceeded`, `RequestRefused` or a `ModelError`.
        """
        elsewhere, name = await self._place(model)
        if elsewhere is not None:
            if speaker is not None and speaker.name:
                raise ModelUnsupported(
                    f"{model} runs on another server, which can't be given the adapter {speaker.name!r}."
                )
            replying = remote.chat(elsewhere, name, messages, sampling)
        else:
            own = own_fields(sampling, continue_final=continue_final, speaker=speaker)
            body = request_body(name, messages, sampling) | own
            replying = self._asked(lambda lease: answer(lease.http, "/v1/chat/completions", body, lease.endpoint))
        async with aclosing(replying) as reply:
            async for event in reply:
                yield event

    async def score(
        self,
        model: str,
        messages: Sequence[Message],
        continuations: Sequence[str],
        *,
        speaker: Speaker | None = None,
    ) -> list[list[float]]:
        """For each continuation of the conversation the log-probability of each of its tokens. Our own engine only."""
        body = {
            "model": await self._own(model, "score texts"),
            "messages": messages_body(messages),
            "continuations": list(map(well_formed, continuations)),
            **speaker_fields(speaker),
        }
        lease = await self._attach()
        answered = await call(lease.http, "POST", "/v1/score", lease.endpoint, body)
        return [one["logprobs"] for one in answered["data"]]

    async def logprobs(
        self,
        model: str,
        messages: Sequence[Message],
        reply: str | Sequence[int],
        *,
        top_logprobs: int = 0,
        speaker: Speaker | None = None,
    ) -> list[Token]:
        """A reply to the conversation, as text or as the ids it was made of, token by token: each with its probability
        and the `top_logprobs` likeliest ones in its place. Our own engine only.
        """
        body = {
            "model": await self._own(model, "tell the probabilities of a reply that is there"),
            "messages": messages_body(messages),
            "reply" if isinstance(reply, str) else "token_ids": reply if isinstance(reply, str) else list(reply),
            "top_logprobs": top_logprobs,
            **speaker_fields(speaker),
        }
        return await self._read("/v1/logprobs", body, tokens_of)

    async def tokenize(self, model: str, messages: Sequence[Message] = (), texts: Sequence[str] = ()) -> Tokenized:
        """The prompt of a conversation, where one is given, then each text that would stand in one. Our own engine
        only.
        """
        body = {
            "model": await self._own(model, "count tokens"),
            "messages": messages_body(messages),
            "prompt": list(map(well_formed, texts)),
        }
        return await self._read("/v1/tokenize", body, tokenized_of)

    async def embed(self, model: str, texts: Sequence[str], *, background: bool = False) -> list[list[float]]:
        """A vector of length 1 for each text. Our own engine only. `background`: when it has nothing else to do."""
        body = {
            "model": await self._own(model, "embed texts"),
            "input": list(map(well_formed, texts)),
            "background": background,
        }
        lease = await self._attach()
        answered = await call(lease.http, "POST", "/v1/embeddings", lease.endpoint, body)
        return [one["embedding"] for one in answered["data"]]

    async def _own(self, model: str, act: str) -> str:
        """The model's name in our own engine. Raises `ModelUnsupported` for one that lives elsewhere."""
        elsewhere, name = await self._place(model)
        if elsewhere is not None:
            raise ModelUnsupported(f"{model} runs on another server, which can't {act} for us. Choose a local model.")
        return name

    async def _read(self, path: str, body: Mapping[str, Any], read: Callable[[Any], Read]) -> Read:
        """What `read` makes of the engine's answer. Raises `RequestRefused` where it can make nothing of it."""
        lease = await self._attach()
        try:
            return read(await call(lease.http, "POST", path, lease.endpoint, body))
        except BadAnswer as error:
            raise unanswered(error, lease.endpoint, begun=True) from error

    async def models(self) -> list[str]:
        """Names of the models that the engine can load."""
        lease = await self._attach()
        body = await call(lease.http, "GET", "/v1/models", lease.endpoint)
        return [model["id"] for model in body["data"]]

    async def _attach(self) -> Lease:
        async with self._attaching:
            for attempt in range(ATTEMPTS):
                if self._lease is not None and self._lease.alive:
                    return self._lease
                await self.close()
                endpoint = self._given or await process.find_or_start(self._paths, self._settings.engine)
                try:
                    self._lease = await Lease.open(endpoint)
                except (EngineUnreachable, EngineDied):
                    if attempt == ATTEMPTS - 1:
                        raise
            assert self._lease is not None
            return self._lease

    async def _asked(self, ask: Callable[[Lease], AsyncGenerator[Event]]) -> AsyncGenerator[Event]:
        """The events of one answer of the engine, which is started where there is none."""
        if self._given is None and not self.attached:
            yield Loading("starting the engine")
        for attempt in range(ATTEMPTS):
            lease = await self._attach()
            try:
                async with aclosing(ask(lease)) as said:
                    async for event in said:
                        yield event
                return
            except EngineUnreachable:  # it ended since it was last heard of, before it got the request
                await self._give_back(lease)
                if attempt == ATTEMPTS - 1:
                    raise
            except EngineDied:
                await self._give_back(lease)
                raise

    async def _give_back(self, lease: Lease) -> None:
        """Close `lease`, and forget it unless another request has taken a new one meanwhile."""
        if self._lease is lease:
            self._lease = None
        await lease.close()

    async def _place(self, model: str) -> tuple[Endpoint | None, str]:
        """(the server that runs the model, None for our own engine; its name there). Raises `ModelUnknown`."""
        if self._given is not None:
            return None, model
        found = catalogue.find(self._paths, model)
        if not isinstance(found, Remote):
            return None, found.name  # a path has become absolute: the engine works in another folder
        key = await asyncio.to_thread(catalogue.key, found)  # a keyring may ask the person first
        return Endpoint(remote.base_url(found.url), key=key), found.model
