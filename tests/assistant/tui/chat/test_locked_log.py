"""Another program holds the log's write lock for seconds: the screen takes keys all the time, and nothing is lost."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

from sqlite_utils import Database

from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages
from assistant.tui.app import AssistantApp
from tests.assistant.tui.conftest import NOW, said, window
from tests.assistant.tui.waiting import wait_until
from tests.fake_engine import FakeEngine, Reply

HELD_S = 3.0
LONGEST_STALL_S = 0.5
"""A busy machine's scheduler included; a write on the event loop would stop it for `HELD_S`."""
HOLD = """
import sqlite3, sys, time
log = sqlite3.connect(sys.argv[1], isolation_level=None)
log.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
log.execute("ROLLBACK")
"""


@asynccontextmanager
async def lock_held(log: Path) -> AsyncIterator[float]:
    """Another process holds the write lock for `HELD_S`; the time at which that began."""
    line = [sys.executable, "-c", HOLD, str(log), str(HELD_S)]
    holder = await asyncio.create_subprocess_exec(*line, stdout=subprocess.PIPE)
    assert holder.stdout is not None and await holder.stdout.readline() == b"held\n"
    yield monotonic()
    await holder.wait()


@asynccontextmanager
async def no_stall() -> AsyncIterator[None]:
    """Fail where the event loop stands still for longer than `LONGEST_STALL_S` inside."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, monotonic() - before)

    watching = asyncio.create_task(watch())
    yield
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    assert longest < LONGEST_STALL_S


async def test_what_is_typed_and_sent_while_the_log_is_locked_is_stored_in_order(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    engine.enqueue(Reply("First reply."), Reply("Second reply."))
    async with window(model_home, engine) as shown, no_stall():
        press = shown.pilot._pilot.press  # which waits for no answer of the log
        async with lock_held(model_home.database) as began_s:
            await press(*"one")
            await shown.pilot._pilot.pause(0.7)  # the draft is on its way to the log
            await press("enter")
            await press(*"two")
            assert shown.composer.text == "two"
            await press("enter")  # refused: the first message has no reply yet
            await press("f8", "f8", "ctrl+n")
            await press(*"three")
            assert shown.composer.text == "three"
            assert monotonic() < began_s + HELD_S, "the keys waited for the lock"
            assert conversations.count(db) == 0
        await shown.until(lambda: conversations.count(db) == 1 and not shown.app.chat.replies.busy)
        talk = conversations.latest(db)
        assert talk is not None and talk.leaf_id is not None
        assert [row.content for row in messages.path(db, talk.leaf_id)] == ["one", "First reply."]
        await shown.show(talk.id)
        assert shown.composer.text == "two"
        await shown.pilot.press("enter")
        await shown.until(lambda: shown.texts() == ["one", "First reply.", "two", "Second reply."])
        await shown.pilot.press("ctrl+n")
        assert shown.composer.text == "three"


async def test_judgements_made_while_the_log_is_locked_follow_in_order(
    model_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Talk", ["Hello", "Hi."])
    async with window(model_home, engine) as shown, no_stall():
        await shown.show(talk)
        await shown.pilot.press("up")
        async with lock_held(model_home.database):
            await shown.pilot._pilot.press("plus", "minus", "k", "z")
        await shown.until(lambda: shown.view.shown[-1].marks == ("- bad",))


async def test_keys_are_taken_while_opening_waits_for_another_program(home: Paths, engine: FakeEngine) -> None:
    home.database.touch(0o600)
    async with lock_held(home.database) as began_s:
        app = AssistantApp(home, Settings(), engine=engine.endpoint, now=lambda: NOW)
        async with app.run_test(size=(100, 30)) as pilot, no_stall():
            await wait_until(pilot, lambda: len(app.screen_stack) > 1)  # there is no model yet
            await pilot.press("escape", *"early")
            assert app.chat.view.composer.text == "early"
            assert monotonic() < began_s + HELD_S
            await wait_until(pilot, lambda: app.chat.is_attached_to_logs)
            await pilot.pause()
            assert app.chat.view.composer.text == "early"
            await app.action_quit()
