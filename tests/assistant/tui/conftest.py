"""A window on a scripted engine, with a log on disk and a pinned clock."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from sqlite_utils import Database
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages
from assistant.store.database import open_database
from assistant.store.messages import Outcome, Provenance
from assistant.tui.app import AssistantApp
from tests.fake_engine import FakeEngine

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
MODEL = catalogue.DEFAULT
WAITS_FOR_THE_LOG = ("background", "in order", "judging", "marking", "messages", "list")
"""Groups of workers that end as soon as the log has answered."""


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(models=(MODEL,)) as engine:
        yield engine


@pytest.fixture
def model_home(home: Paths) -> Paths:
    """A home in which the default model seems to be. The fake engine answers for it."""
    folder = home.models / MODEL
    folder.mkdir()
    catalogue.write_manifest(
        folder, catalogue.InstalledModel(MODEL, folder, "test", "Apache-2.0", {"model.gguf": 92_000_000})
    )
    return home


def heading(screen: Screen[Any]) -> str:
    """The heading of a dialog; empty where there is none."""
    found = screen.query(".heading")
    return str(found.first(Widget).render()) if found else ""


class Keys:
    """A pilot that, after each key or click, waits until the log has answered what that asked."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self._pilot = pilot
        self.app = pilot.app

    async def settled(self) -> None:
        """Wait until nothing on the screens waits for the log."""
        end = monotonic() + 5
        await self._pilot.pause()
        while any(one.is_running for one in self.app.workers if one.group in WAITS_FOR_THE_LOG) and monotonic() < end:
            await self._pilot.pause(0.005)
        await self._pilot.pause()

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self._pilot.press(key)
            await self.settled()

    async def click(self, *arguments: Any, **options: Any) -> bool:
        clicked = await self._pilot.click(*arguments, **options)
        await self.settled()
        return clicked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pilot, name)


class Window:
    """An app that runs, and ways to wait for what it shows."""

    def __init__(self, app: AssistantApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = Keys(pilot)
        self.view = app.chat.view
        self.composer = app.chat.view.composer
        self.transcript = app.chat.view.transcript

    async def until(self, holds: Callable[[], bool], what: str = "", seconds: float = 8) -> None:
        """Wait for `holds`; fail after `seconds`."""
        end = monotonic() + seconds
        while not holds():
            assert monotonic() < end, what or "it never came to hold"
            await self.pilot.pause(0.01)
        await self.pilot.pause()

    async def open(self) -> None:
        """Wait until the logs are open."""
        await self.until(lambda: self.app.chat.is_attached_to_logs, "the logs never opened")
        await self.pilot.settled()

    async def show(self, conversation_id: int | None) -> None:
        """Open a conversation of the log on disk."""
        self.app.chat.open(private=False, conversation_id=conversation_id)
        await self.pilot.settled()

    async def say(self, text: str) -> None:
        """Type a text and send it."""
        self.composer.load_text(text)
        await self.pilot.press("enter")

    async def reply(self) -> None:
        """Wait for the end of the reply."""

        def answered() -> bool:
            return self.view.reply is None and any(view.role == "assistant" for view in self.view.shown)

        await self.until(answered, "the reply never ended")

    def texts(self) -> list[str]:
        """What the transcript shows, oldest first."""
        return [self.transcript.view(view.id).text for view in self.view.shown]

    def states(self) -> list[str]:
        return [self.transcript.view(view.id).state for view in self.view.shown]


@asynccontextmanager
async def window(
    home: Paths, engine: FakeEngine, *, settings: Settings | None = None, size: tuple[int, int] = (120, 32)
) -> AsyncIterator[Window]:
    """A window that has its logs open."""
    app = AssistantApp(home, settings or Settings(), engine=engine.endpoint, now=lambda: NOW, version="0.1.0")
    async with app.run_test(size=size) as pilot:
        shown = Window(app, pilot)
        await shown.open()
        yield shown
        await app.action_quit()


@pytest.fixture
def db(model_home: Paths) -> Iterator[Database]:
    """A connection of its own to the log."""
    db = open_database(model_home.database)
    yield db
    db.close()


def said(db: Database, title: str, turns: list[str], *, minutes_ago: int = 0, pinned: bool = False) -> int:
    """A conversation with `turns`, the person's first, as it was `minutes_ago`. Its id."""
    conversation = conversations.create(db, model=MODEL, template="plain")
    conversations.rename(db, conversation.id, title)
    conversations.pin(db, conversation.id, pinned)
    parent = None
    for number, text in enumerate(turns):
        if number % 2 == 0:
            parent = messages.add_user(db, conversation.id, parent, text)
        else:
            parent = messages.begin_reply(db, conversation.id, parent, Provenance(MODEL, "plain", "h", "", {}, 1))
            outcome = Outcome(
                prompt_tokens=1_100, completion_tokens=104, context_tokens=8192, first_token_s=0.05, total_s=0.836
            )
            messages.end_reply(db, parent, text, "complete", outcome)
    then_ms = int(NOW.timestamp() * 1000) - minutes_ago * 60_000
    with db.conn:
        db.conn.execute("UPDATE conversations SET updated_ms = ? WHERE id = ?", (then_ms, conversation.id))
        db.conn.execute("UPDATE messages SET created_ms = ? WHERE conversation_id = ?", (then_ms, conversation.id))
    return conversation.id
