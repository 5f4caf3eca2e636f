"""The log, read and written in a thread of its own, so that the screen never waits for it.

Another program may hold the log's write lock for seconds, and opening may migrate it: a connection on the screen's
event loop would stop the screen for as long.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sqlite_utils import Database

T = TypeVar("T")


class WorkerThread:
    """One thread with an event loop: what is submitted begins in the order in which it was submitted."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        self.closed = False
        """Whether nothing can be submitted any more."""

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Call it in the thread. A call that is cancelled before its turn isn't made."""
        future: Future[T] = Future()
        self._loop.call_soon_threadsafe(_call, call, future)
        return future

    def start(self, begin: Callable[[], Awaitable[T]]) -> "Future[T]":
        """Run what `begin` returns as a task of the thread. Cancelling the future does not end the task."""
        future: Future[T] = Future()

        async def run() -> None:
            try:
                future.set_result(await begin())
            except BaseException as error:
                future.set_exception(error)

        def start() -> None:
            if future.set_running_or_notify_cancel():
                task = self._loop.create_task(run())
                future.task = task  # type: ignore[attr-defined]  # the loop itself keeps no strong reference

        self._loop.call_soon_threadsafe(start)
        return future

    def cancel(self, future: "Future[Any]") -> None:
        """Cancel the task that `start` began; the future ends when the task has ended."""

        def cancel() -> None:
            if not future.cancel() and (task := getattr(future, "task", None)) is not None:
                task.cancel()

        self._loop.call_soon_threadsafe(cancel)

    async def close(self) -> None:
        """Wait for what was submitted, and end the thread."""
        self.closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)


def _call(call: Callable[[], T], future: "Future[T]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


class LogWorker:
    """One connection to a log, used by one thread alone. `open_log` is called there when the log is first needed."""

    def __init__(self, open_log: "Callable[[], Database]", thread: WorkerThread | None = None) -> None:
        """`thread`: that of another worker, to share it; the other worker closes it then."""
        self._open_log = open_log
        self._thread = thread or WorkerThread()
        self._owns_thread = thread is None
        self._db: Database | None = None
        self._reading: object = None
        """The question that is being answered and may be interrupted."""
        self._turn = threading.Lock()
        """Held while `_reading` changes, so that an interruption meets the question that it is meant for."""
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._closed

    def beside(self, open_log: "Callable[[], Database]") -> "LogWorker":
        """A worker for another log in the same thread."""
        return LogWorker(open_log, self._thread)

    def db(self) -> "Database":
        """The connection. Only for the worker's thread."""
        if self._db is None:
            self._db = self._open_log()
        return self._db

    # --- asked from the screen

    async def ask(self, question: "Callable[[Database], T]") -> T:
        """The answer to a question that only reads. Raises what the question raises.

        A question whose caller is cancelled before its turn isn't asked, and interrupted during its turn. Questions
        after close are cancelled.
        """
        asked = self._submit(question, interruptible=True)
        try:
            return await asyncio.wrap_future(asked)
        except asyncio.CancelledError:
            self._interrupt(question)
            raise

    def act(self, change: "Callable[[Database], T]") -> "asyncio.Future[T]":
        """Change the log, in its turn from now on, also where nobody waits for the result. Raises as `change`."""
        return asyncio.shield(asyncio.wrap_future(self._submit(change, interruptible=False)))

    def _submit(self, question: "Callable[[Database], T]", *, interruptible: bool) -> "Future[T]":
        if self._closed or self._thread.closed:
            raise asyncio.CancelledError

        def answer() -> T:
            db = self.db()
            with self._turn:
                self._reading = question if interruptible else None
            try:
                return question(db)
            finally:
                with self._turn:
                    self._reading = None

        return self._thread.submit(answer)

    def _interrupt(self, question: object) -> None:
        with self._turn:
            if self._reading is question and self._db is not None:
                self._db.conn.interrupt()

    async def run(self, begin: "Callable[[Database], Awaitable[T]]") -> T:
        """The result of something asynchronous that runs in the worker's thread. Cancelled here, it is cancelled there.

        Raises what it raises.
        """
        if self._closed or self._thread.closed:
            raise asyncio.CancelledError
        running = self._thread.start(lambda: begin(self.db()))
        ended = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._thread.cancel(running)
            await asyncio.wait([ended])
            if not ended.cancelled():
                ended.exception()  # seen
            raise

    async def stream(self, begin: "Callable[[Database], AsyncGenerator[T, None]]") -> AsyncGenerator[T, None]:
        """What an asynchronous generator in the worker's thread yields. Closed here, it is closed there.

        Raises what it raises.
        """
        here, arrived = asyncio.get_running_loop(), asyncio.Queue[T | None]()

        async def read(db: "Database") -> None:
            async with aclosing(begin(db)) as steps:
                async for step in steps:
                    here.call_soon_threadsafe(arrived.put_nowait, step)

        reading = asyncio.create_task(self.run(read))
        reading.add_done_callback(lambda _: arrived.put_nowait(None))
        try:
            while (step := await arrived.get()) is not None:
                yield step
            await reading
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait([reading])

    async def close(self) -> None:
        """Answer what was asked, and close the file."""
        if self._closed:
            return
        self._closed = True
        await asyncio.wrap_future(self._thread.submit(self._close))
        if self._owns_thread:
            await self._thread.close()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
