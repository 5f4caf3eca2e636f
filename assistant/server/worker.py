"""The one thread that loads models and runs them, requests in order of arrival. The event loop stays free."""

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from assistant.engine.sampling import Sampling
from assistant.errors import AssistantError, RequestRefused
from assistant.events import Event, Finished, Loading
from prompts.message import Message

log = logging.getLogger(__name__)

Emit = Callable[[Event], None]
Cancelled = Callable[[], bool]


class Engine(Protocol):
    """What is asked of `assistant.engine.engine.Engine`, which is not imported here: it would import torch."""

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        continue_final: bool,
        drop_oldest: bool,
        cancelled: Cancelled,
    ) -> Generator[Event]: ...

    def complete(self, text: str, sampling: Sampling, *, cancelled: Cancelled) -> Generator[Event]: ...

    def close(self) -> None: ...


Load = Callable[[str, Callable[[Loading], None]], Engine]
"""(model, progress) -> the engine with that model."""
Work = Callable[[Engine, Cancelled], Generator[Event]]
"""What one request makes the engine do."""


@dataclasses.dataclass(slots=True)
class Job:
    """One request. `events` ends with None, or with the exception that ended it."""

    model: str
    work: Work
    emit: Callable[[Event | Exception | None], None]
    cancelled: threading.Event = dataclasses.field(default_factory=threading.Event)


class Worker:
    """Runs one job at a time, and holds one model: that of the last job."""

    def __init__(self, load: Load, prepare: Callable[[], None]) -> None:
        """`prepare` is what takes long before anything can be loaded: the import of torch."""
        self._load = load
        self._prepare = prepare
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self.ready = False
        """Whether the imports are done."""
        self._engine: Engine | None = None
        self.model = ""
        """Name of the model that is held."""
        self.requests = 0
        """Requests that run or wait."""

    def start(self) -> None:
        """A daemon thread: a process that must end doesn't wait for a model to be loaded."""
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    async def stream(self, model: str, work: Work) -> AsyncGenerator[Event]:
        """The events of `work` with `model`, which is loaded first where another one is held.

        Closing the iterator stops the work within one token. Raises `AssistantError`, whatever went wrong.
        """
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event | Exception | None]()

        def emit(event: Event | Exception | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(events.put_nowait, event)

        job = Job(model, work, emit)
        if not self.ready:
            emit(Loading("starting the engine"))
        elif self.requests:
            emit(Loading("waiting for another reply"))
        self.requests += 1
        self._jobs.put(job)
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            job.cancelled.set()
            self.requests -= 1

    def _run(self) -> None:
        try:
            self._prepare()
        except Exception:
            log.exception("the engine's libraries can't be imported")  # the first load says so to whoever asks
        self.ready = True
        while True:
            job = self._jobs.get()
            try:
                self._do(job)
            except AssistantError as error:
                job.emit(error)
            except Exception as error:
                log.exception("a request failed")
                self._drop()  # its cache may be half written, and its memory may be what is missing
                job.emit(sentence(error))
            else:
                job.emit(None)

    def _do(self, job: Job) -> None:
        if job.cancelled.is_set():
            return
        engine, load_s = self._engine_for(job)
        events = job.work(engine, job.cancelled.is_set)
        try:
            for event in events:
                if isinstance(event, Finished):
                    event = dataclasses.replace(event, timing=dataclasses.replace(event.timing, load_s=load_s))
                job.emit(event)
                if job.cancelled.is_set():
                    return
        finally:
            events.close()

    def _engine_for(self, job: Job) -> tuple[Engine, float]:
        """The engine with the job's model, and the seconds it took to get it."""
        if self._engine is not None and self.model == job.model:
            return self._engine, 0.0
        self._drop()
        started_s = time.monotonic()
        job.emit(Loading(f"loading {job.model}"))
        self._engine, self.model = self._load(job.model, job.emit), job.model
        return self._engine, time.monotonic() - started_s

    def _drop(self) -> None:
        engine, self._engine, self.model = self._engine, None, ""
        if engine is not None:
            try:
                engine.close()
            except Exception:
                log.exception("the engine did not close")


def sentence(error: Exception) -> AssistantError:
    """What a failure of the engine's own is called to whoever asked."""
    text: Any = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return RequestRefused(
            "There was not enough memory for this answer. "
            "Close other programs, begin a shorter conversation or choose a smaller model.",
            code="out_of_memory",
            status=500,
        )
    return RequestRefused(
        f"The engine failed: {type(error).__name__}: {text}. It is loaded anew with the next message.",
        code="server_error",
        status=500,
    )
