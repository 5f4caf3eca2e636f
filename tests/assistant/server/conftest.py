"""The real application on a real socket, around an engine that counts what it is made to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from assistant.client.http import Endpoint, connect
from assistant.engine.generate.sampling import Sampling
from assistant.engine.networks.network import Ask, Read, Steps
from assistant.engine.request import Adapted, Chat, Complete, Embed, ReadAgain, Request, Score, Tokenize
from assistant.errors import ContextExceeded, ModelUnknown
from assistant.events import Embedded, Event, Finished, Loading, Prefilled, Scored, Token, Tokenized, TopToken, Usage
from assistant.paths import Paths
from assistant.server.app import private_app
from assistant.server.embedding import Embedding
from assistant.server.leases import Leases
from assistant.server.process import listening
from assistant.server.sockets import listen_at
from assistant.server.worker import Worker
from prompts.message import Message

NOTHING: Any = None
NO_EMBEDDING = Embedding(lambda _: None, lambda: True, lambda: False)
"""Of a service whose models all chat."""


@dataclass
class CountingEngine:
    """Says `words` one by one, `pause_s` apart; with `raises` it fails after the first."""

    words: Sequence[str] = ("one", " two", " three")
    pause_s: float = 0.0
    raises: BaseException | None = None
    stepped: int = 0
    closed: bool = False
    asked: list[Sequence[Message]] = field(default_factory=list)
    sampling: Sampling | None = None
    options: dict[str, bool] = field(default_factory=dict)
    adapter: Path | None = None
    rounds: list[int] = field(default_factory=list)
    """How many requests each pass was for."""
    running: int = 0
    together: int = 0
    """The most requests that were ever at work at one time."""

    def steps(self, request: Request) -> Steps:
        match request:
            case Chat():
                self._note(request.messages, request)
                self.sampling = request.sampling
                self.options = {"continue_final": request.continue_final, "drop_oldest": request.drop_oldest}
                if request.messages[-1].content == "too long":
                    raise ContextExceeded("The prompt has 9 tokens, the context 8.")
                return self._say(request.choice, request.sampling)
            case Complete():
                self._note([Message("user", request.text)], request)
                self.sampling = request.sampling
                return self._say(request.choice, request.sampling)
            case Score():
                self._note(request.messages, request)
                return self._told(1, Scored(tuple((-0.5,) * len(text) for text in request.continuations), 3))
            case Embed():
                vectors = tuple((0.6, 0.8) for _ in request.texts)
                return self._told(len(vectors), Embedded(vectors, 2 * len(vectors)))
            case Tokenize():
                said = [message.content for message in request.messages] + list(request.texts)
                ids = tuple(tuple(map(ord, text)) for text in said)
                return self._told(0, Tokenized(ids, tuple(map(tuple, said)), 8))
            case ReadAgain():
                raise NotImplementedError

    def _note(self, messages: Sequence[Message], request: Adapted) -> None:
        self.asked.append(messages)
        self.adapter = request.adapter

    def _told(self, passes: int, event: Event) -> Steps:
        for _ in range(passes):
            yield Ask(NOTHING, [1])
        yield event

    def run(self, asks: Sequence[Ask | Read]) -> list[None]:
        self.rounds.append(len(asks))
        time.sleep(self.pause_s)
        return [None] * len(asks)

    def _say(self, choice: int, sampling: Sampling) -> Steps:
        self.running += 1
        self.together = max(self.together, self.running)
        try:
            yield Ask(NOTHING, [1])
            yield Prefilled(3, context_tokens=8)
            for word in self.words:
                self.stepped += 1
                yield Token(word, 1, -0.5, tuple(TopToken(word, -0.5, 1) for _ in range(sampling.top_logprobs)), choice)
                if self.raises is not None:
                    raise self.raises
                yield Ask(NOTHING, [1])
            yield Finished("stop", Usage(3, len(self.words)), seed=sampling.seed or 7, choice=choice)
        finally:
            self.running -= 1

    def close(self) -> None:
        self.closed = True


@dataclass
class Service:
    """The application around one engine, and a connection to it."""

    http: httpx.AsyncClient
    endpoint: Endpoint
    engine: CountingEngine
    worker: Worker
    leases: Leases
    loaded: list[str]
    """The models that were loaded, in order."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    engine, loaded = CountingEngine(), list[str]()

    def load(model: str, progress: Callable[[Loading], None]) -> CountingEngine:
        if model == "unknown":
            raise ModelUnknown("There is no model 'unknown'.")
        loaded.append(model)
        progress(Loading("reading weights", 0.5))
        return engine

    worker, leases = Worker(load, lambda: None), Leases(0.0)
    listener, here = listen_at(tmp_path / "engine.sock")
    endpoint = Endpoint("http://engine", Path(here.socket))
    async with listening(
        [(private_app(worker, NO_EMBEDDING, leases, lambda: ["m"], Paths(tmp_path, tmp_path)), listener)]
    ):
        worker.start()
        await until(lambda: worker.ready)
        async with connect(endpoint) as http:
            yield Service(http, endpoint, engine, worker, leases, loaded)


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that another thread or process does."""
    deadline_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline_s, "it did not come true"
        await asyncio.sleep(0.005)
