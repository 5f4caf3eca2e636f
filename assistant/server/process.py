"""The engine process: the lock, the listening sockets, the worker, and the end."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from assistant.engine.hardware.machine import share_cores
from assistant.paths import Paths
from assistant.server import loading, sockets
from assistant.server.app import private_app, public_app
from assistant.server.embedding import Embedding
from assistant.server.leases import Leases
from assistant.server.worker import Worker
from assistant.settings import EngineSettings
from assistant.wire import address

LOCK_WAIT_S = 0.2
"""How long to wait for the lock: whoever asks whether an engine lives holds it for an instant."""

FAREWELL_S = 1
"""How long open answers may take to end when the process does."""

TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Port:
    """A port where everyone who has the key is answered, besides this user's own programs."""

    listener: socket.socket
    key: str = ""


def run(
    paths: Paths, settings: EngineSettings, port: Port | None = None, ready: Callable[[], None] | None = None
) -> bool:
    """Be the engine process of this data folder until nobody uses it any more. False where there is one already.

    With a `port` it goes on until it is interrupted. `ready` is called when it answers. A model may still be loading
    in a daemon thread on return, which the interpreter can't end in good order: leave with `os._exit`.
    """
    share_cores()
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while time.monotonic() < deadline_s:
        with address.locked(paths) as free:
            if free:
                asyncio.run(_serve(paths, settings, port, ready))
                return True
        time.sleep(0.01)
    return False


async def _serve(paths: Paths, settings: EngineSettings, port: Port | None, ready: Callable[[], None] | None) -> None:
    interrupted = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)

    def names() -> list[str]:
        return loading.names(paths)

    worker = Worker(loading.loader(paths, settings), loading.import_engine)
    embedding = Embedding(loading.embedder_loader(paths, settings), lambda: worker.ready, lambda: worker.requests > 0)
    leases = Leases(settings.keep_alive_s)
    listener, here = sockets.listen(paths)
    answering = [(private_app(worker, embedding, leases, names, paths, key=here.key), listener)]
    if port is not None:
        answering.append((public_app(worker, embedding, names, paths, key=port.key), port.listener))
    async with listening(answering):
        address.publish(paths, here)
        worker.start()
        if ready is not None:
            ready()
        with leases.hold() if port is not None else contextlib.nullcontext():
            while not interrupted.is_set() and not leases.over(busy=worker.requests > 0):
                await asyncio.sleep(TICK_S)
        leases.ended = True
        address.withdraw(paths)
    if here.socket:
        Path(here.socket).unlink(missing_ok=True)


class Listener(uvicorn.Server):
    """One listening socket. Signals are for the process to handle, which may have two of them."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def listening(answering: Sequence[tuple[ASGIApp, socket.socket]]) -> AsyncIterator[None]:
    """Every application answers on its socket inside the block."""
    listeners = [Listener(_configuration(app)) for app, _ in answering]
    serving = [
        asyncio.create_task(listener.serve([on])) for listener, (_, on) in zip(listeners, answering, strict=True)
    ]
    try:
        while not all(listener.started for listener in listeners):
            assert not any(task.done() for task in serving), "a listener ended before it answered"
            await asyncio.sleep(0.001)
        yield
    finally:
        for listener in listeners:
            listener.should_exit = True
        await asyncio.gather(*serving)


def _configuration(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=FAREWELL_S,
    )
