"""The log on disk, read and curated in a thread of its own, so that the screen never waits for it."""

import asyncio
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

    async def ask(self, question: Callable[[Database], T]) -> T:
        """The answer. A question whose asker is cancelled before its turn isn't asked. Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question)

    def _answer(self, question: Callable[[Database], T]) -> T:
        from assistant.store.database import open_database

        if self._db is None:
            self._db = open_database(self._path)
        return question(self._db)

    async def close(self) -> None:
        """Answer what was asked, and close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
