"""The thread that reads the log: in order, one question after the other, and broken off where nobody waits."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from sqlite_utils import Database

from assistant.paths import Paths
from assistant.store import conversations
from assistant.store.database import open_database
from assistant.tui.log_worker import LogWorker

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@asynccontextmanager
async def reading(home: Paths) -> AsyncIterator[LogWorker]:
    reader = LogWorker(partial(open_database, home.database))
    yield reader
    await reader.close()


async def test_what_is_asked_is_answered_in_another_thread(home: Paths) -> None:
    async with reading(home) as reader:
        assert await reader.act(lambda db: conversations.create(db, model="m").id) == 1
        assert await reader.ask(lambda db: conversations.count(db)) == 1
        assert await reader.ask(lambda _: threading.current_thread()) is not threading.current_thread()


async def test_an_error_is_raised_where_it_was_asked(home: Paths) -> None:
    async with reading(home) as reader:
        with pytest.raises(ZeroDivisionError):
            await reader.ask(lambda _: 1 // 0)
        assert await reader.ask(lambda _: 1) == 1


async def test_a_question_that_nobody_waits_for_is_broken_off(home: Paths) -> None:
    began = threading.Event()
    ended: list[str] = []

    def endless(db: Database) -> None:
        began.set()
        try:
            db.conn.execute(ENDLESS).fetchall()
        except sqlite3.OperationalError as error:
            ended.append(str(error))
            raise

    async with reading(home) as reader:
        asking = asyncio.create_task(reader.ask(endless))
        await asyncio.to_thread(began.wait)
        await asyncio.sleep(0.05)  # until SQLite is at it
        asking.cancel()
        assert await reader.ask(lambda _: "next") == "next"
    assert ended == ["interrupted"]


async def test_what_waits_and_is_no_longer_wanted_is_not_asked(home: Paths) -> None:
    go_on = threading.Event()
    asked: list[str] = []
    async with reading(home) as reader:
        first = asyncio.create_task(reader.ask(lambda _: go_on.wait()))
        second = asyncio.create_task(reader.ask(lambda _: asked.append("second")))
        await asyncio.sleep(0)
        second.cancel()
        go_on.set()
        await first
        await reader.ask(lambda _: asked.append("third"))
    assert asked == ["third"]
