"""The real application on a real socket, around an engine that counts what it is made to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from assistant.client.http import Endpoint, connect
from assistant.engine.sampling import Sampling
from assistant.errors import ContextExceeded, ModelUnknown
from assistant.events import Event, Finished, Loading, Prefilled, Token, Usage
from assistant.server.app import private_app
from assistant.server.leases import Leases
from assistant.server.process import listening
from assistant.server.sockets import listen_at
from assistant.server.worker import Cancelled, Worker
from prompts.message import Message


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
    running: int = 0
    together: int = 0
    """The most requests that were ever at work at one time."""

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        continue_final: bool,
        drop_oldest: bool,
        cancelled: Cancelled,
    ) -> Generator[Event]:
        self.asked.append(messages)
        self.sampling = sampling
        self.options = {"continue_final": continue_final, "drop_oldest": drop_oldest}
        if messages[-1].content == "too long":
            raise ContextExceeded("The prompt has 9 tokens, the context 8.")
        yield from self._say(cancelled)

    def complete(self, text: str, sampling: Sampling, *, cancelled: Cancelled) -> Generator[Event]:
        self.sampling = sampling
        yield Prefilled(len(text))
        yield from self._say(cancelled)

    def _say(self, cancelled: Cancelled) -> Generator[Event]:
        self.running += 1
        self.together = max(self.together, self.running)
        try:
            yield Prefilled(3, context_tokens=8)
            for word in self.words:
                self.stepped += 1
                yield Token(word, 1, -0.5)
                if self.raises is not None:
                    raise self.raises
                time.sleep(self.pause_s)
                if cancelled():
                    return
            yield Finished("stop", Usage(3, len(self.words)), seed=7)
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
    async with listening([(private_app(worker, leases, lambda: ["m"]), listener)]):
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
