"""The log on disk, read and curated in a thread of its own, so that the screen never waits for it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlite_utils import Database

T = TypeVar("T")


class LogReader:
    """One thread with one connection. What is asked is answered in order; what is no longer wanted is left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._db: Database | None = None
        self._closed = False
        self._running: object = None
        """The question that is being answered."""
        self._turn = threading.Lock()
        """Held while `_running` changes, so that an interruption meets the question that it is meant for."""

    async def ask(self, question: Callable[[Database], T], *, only_reads: bool = False) -> T:
        """The answer. Raises what the question raises.

        A question whose caller is cancelled before its turn isn't asked; one that only reads is interrupted, too.
        Requests made after close are cancelled.
        """
        if self._closed:
            raise asyncio.CancelledError
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question)
        except asyncio.CancelledError:
            if only_reads:
                self._break_off(question)
            raise

    def _answer(self, question: Callable[[Database], T]) -> T:
        from assistant.store.database import open_database

        if self._db is None:
            self._db = open_database(self._path)
        with self._turn:
            self._running = question
        try:
            return question(self._db)
        finally:
            with self._turn:
                self._running = None

    def _break_off(self, question: object) -> None:
        with self._turn:
            if self._running is question and self._db is not None:
                self._db.conn.interrupt()

    @property
    def closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._closed

    async def close(self) -> None:
        """Answer what was asked, and close the file."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
