"""The one thread that loads models and runs them, many requests at once. The event loop stays free."""

import asyncio
import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from assistant.engine.generate.schedule import Schedule, Task
from assistant.engine.networks.network import Ask, Read, Steps
from assistant.engine.request import Request
from assistant.errors import AssistantError, RequestRefused
from assistant.events import Event, Finished, Loading, Prefilled

log = logging.getLogger(__name__)

MOST_AT_ONCE = 8
"""Replies that are at work together. More would make each slower than people read."""


class Engine(Protocol):
    """What is asked of `assistant.engine.engine.Engine`, which is not imported here: it would import torch."""

    def steps(self, request: Request) -> Steps: ...

    def run(self, asks: Sequence[Ask | Read]) -> list[Any]: ...

    def close(self) -> None: ...


Load = Callable[[str, Callable[[Loading], None]], Engine]
"""(model, progress) -> the engine with that model."""
Work = Callable[[], Sequence[Request]]
"""What a client asks the engine for, a request for each answer. Called in the engine's thread, so it may read files."""
Explain = Callable[[Exception], AssistantError]


class Job:
    """What a client asks for. `emit` is called with its events, last with None or with the exception that ended it."""

    def __init__(self, model: str, work: Work, emit: Callable[[Event | Exception | None], None]) -> None:
        self.model = model
        self.emit = emit
        self._work = work
        self.left = threading.Event()
        """Set when nobody waits for it any more."""

    def begin(self, engine: Engine, schedule: Schedule, load_s: float, explain: Explain) -> None:
        """Put its first answer among those that run. The others begin when that one has read the prompt, of which they
        then take a copy."""
        self._schedule, self._load_s, self._explain = schedule, load_s, explain
        steps = [engine.steps(request) for request in self._work()]
        self._open, self._waiting = len(steps), list(steps[1:])
        if steps:
            schedule.add(Task(steps[0], self._said, self._ended, self.left.is_set))
        else:
            self.emit(None)

    def _said(self, event: Event) -> None:
        if isinstance(event, Finished):
            event = dataclasses.replace(event, timing=dataclasses.replace(event.timing, load_s=self._load_s))
        self.emit(event)
        if isinstance(event, Prefilled):
            waiting, self._waiting = self._waiting, []
            for steps in waiting:
                self._schedule.add(Task(steps, self._said_too, self._ended, self.left.is_set))

    def _said_too(self, event: Event) -> None:
        """By an answer after the first: that the prompt was read is known."""
        if not isinstance(event, Prefilled):
            self._said(event)

    def _ended(self, error: Exception | None) -> None:
        self._open -= 1
        if error is not None:
            self._open = 0
            self.left.set()
            self.emit(self._explain(error))
        elif not self._open:
            self.emit(None)


class Worker:
    """Holds one model, that of the last job, and runs the jobs for it together."""

    def __init__(self, load: Load, prepare: Callable[[], None]) -> None:
        """`prepare` is what takes long before anything can be loaded: the import of torch."""
        self._load = load
        self._prepare = prepare
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._schedule = Schedule(self._run_asks)
        self.ready = False
        """Whether the imports are done."""
        self._engine: Engine | None = None
        self.model = ""
        """Name of the model that is held."""
        self.requests = 0
        """Requests that run or wait."""
        self._failed = False
        """Whether something went wrong that nobody expected."""

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
        elif self.requests >= MOST_AT_ONCE or (self.requests and model != self.model):
            emit(Loading("waiting for another reply"))
        self.requests += 1
        self._jobs.put(job)
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            job.left.set()
            self.requests -= 1

    def _run(self) -> None:
        try:
            self._prepare()
        except Exception:
            log.exception("the engine's libraries can't be imported")  # the first load says so to whoever asks
        self.ready = True
        while True:
            self._admit()
            self._schedule.round()
            if self._failed and not self._schedule.tasks:
                self._drop()  # its memory may be what is missing
                self._failed = False

    def _admit(self) -> None:
        """Begin the jobs that can: in order of arrival, so that one for another model holds up those behind it."""
        idle = not self._schedule.tasks and not self._waiting
        with suppress(Empty):
            while True:
                self._waiting.append(self._jobs.get(block=idle))
                idle = False
        while self._waiting and self._can_begin(self._waiting[0]):
            job = self._waiting.popleft()
            if not job.left.is_set():
                self._begin(job)

    def _can_begin(self, job: Job) -> bool:
        running = len(self._schedule.tasks)
        return not running or (job.model == self.model and running < MOST_AT_ONCE)

    def _begin(self, job: Job) -> None:
        try:
            engine, load_s = self._engine_for(job)
            job.begin(engine, self._schedule, load_s, self._explained)
        except Exception as error:
            job.emit(self._explained(error))

    def _engine_for(self, job: Job) -> tuple[Engine, float]:
        """The engine with the job's model, and the seconds it took to get it."""
        if self._engine is not None and self.model == job.model:
            return self._engine, 0.0
        self._drop()
        started_s = time.monotonic()
        job.emit(Loading(f"loading {job.model}"))
        self._engine, self.model = self._load(job.model, job.emit), job.model
        return self._engine, time.monotonic() - started_s

    def _run_asks(self, asks: Sequence[Ask | Read]) -> Sequence[Any]:
        assert self._engine is not None
        return self._engine.run(asks)

    def _explained(self, error: Exception) -> AssistantError:
        """What whoever asked is told. What nobody expected is logged."""
        if isinstance(error, AssistantError):
            return error
        log.error("a request failed", exc_info=error)
        self._failed = True
        return sentence(error)

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
        f"The engine failed: {type(error).__name__}: {text}. Ask again.",
        code="server_error",
        status=500,
    )
