"""Pick, sampling, rename, help and recovery."""

import sqlite3
from contextlib import closing

import pytest
from sqlite_utils import Database
from textual.widgets import Static

from assistant.engine.generate.sampling import Sampling, SamplingError
from assistant.errors import DatabaseDamaged, DatabaseTooNew, DatabaseUnwritable
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations
from assistant.tui.app import AssistantApp
from assistant.tui.chat.rename import RenameScreen
from assistant.tui.dialogs.pick import Choice, matching
from assistant.tui.dialogs.sampling import describe, own_values
from assistant.tui.help import HelpScreen
from assistant.tui.recovery import RecoveryScreen, ways_out
from tests.assistant.tui.conftest import NOW, said, window
from tests.assistant.tui.waiting import wait_until
from tests.fake_engine import FakeEngine

CHOICES = [Choice("a", "translator", "from one language to another"), Choice("b", "tutor"), Choice("c", "翻译", "中文")]


@pytest.mark.parametrize(
    ("query", "found"), [("", "abc"), ("tutor", "b"), ("tr", "ab"), ("翻", "c"), ("language", "a"), ("zzz", "")]
)
def test_picking_narrows_down_by_letters(query: str, found: str) -> None:
    assert {choice.value for choice in matching(CHOICES, query)} == set(found)


@pytest.mark.parametrize(
    ("typed", "own"),
    [
        ({"temperature": "0"}, {"temperature": 0.0}),
        ({"top_k": " 5 ", "seed": ""}, {"top_k": 5}),
        ({"stop": "END|\\n\\n"}, {"stop": ["END", "\n\n"]}),
        ({"seed": "42", "max_tokens": "10"}, {"seed": 42, "max_tokens": 10}),
    ],
)
def test_sampling_takes_what_was_typed(typed: dict[str, str], own: dict[str, object]) -> None:
    assert own_values(Sampling(), typed) == own


@pytest.mark.parametrize("typed", [{"temperature": "9"}, {"top_p": "much"}, {"top_k": "1.5"}, {"max_tokens": "0"}])
def test_sampling_refuses_what_is_no_value(typed: dict[str, str]) -> None:
    with pytest.raises(SamplingError):
        own_values(Sampling(), typed)


def test_own_sampling_is_described_in_a_few_words() -> None:
    assert describe({"temperature": 0.2, "seed": 42}) == "temperature 0.2 · seed 42"


async def test_renaming(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Old name", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        await shown.pilot.press("ctrl+l", "r")
        assert isinstance(shown.app.screen, RenameScreen)
        await shown.pilot.press("ctrl+u", *"新名字", "enter")
        assert shown.app.chat.side.conversations.cursor_row.title == "新名字"  # type: ignore[union-attr]
    assert conversations.get(db, talk).title == "新名字"


async def test_deleting_can_be_undone(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    said(db, "First", ["Hello", "Hi."], minutes_ago=5)
    said(db, "Second", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        rows = shown.app.chat.side.conversations
        await shown.pilot.press("ctrl+l", "enter", "ctrl+l", "d")
        assert rows.cursor_row is not None and rows.cursor_row.title == "First"
        assert shown.texts() == []
        await shown.pilot.press("u")
        assert conversations.count(db) == 2


async def test_pinning_and_searching(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    said(db, "鲸鱼 and whale", ["Hello", "Hi."], minutes_ago=5)
    said(db, "Second", ["Hello", "Hi."])
    async with window(model_home, engine) as shown:
        rows = shown.app.chat.side.conversations
        await shown.pilot.press("ctrl+l", "end", "p", "home")
        assert rows.cursor_row is not None and rows.cursor_row.title == "鲸鱼 and whale"
        await shown.pilot.press("slash", *"second", "enter")
        assert rows.cursor_row is not None and rows.cursor_row.title == "Second"
        await shown.pilot.press("f3", "escape")
        assert shown.app.chat.side.search == ""


async def test_help_shows_remapped_keys(model_home: Paths, engine: FakeEngine) -> None:
    async with window(model_home, engine, settings=Settings(keys={"chat.new": "f9"})) as shown:
        await shown.pilot.press("f1")
        assert isinstance(shown.app.screen, HelpScreen)
        text = "\n".join(str(static.render()) for static in shown.app.screen.query(Static))
        line = next(line for line in text.splitlines() if "chat.new" in line)
        assert line.startswith("f9")
        await shown.pilot.press("escape")
        assert shown.app.chat.is_current


@pytest.mark.parametrize(
    ("error", "ways"),
    [
        (DatabaseDamaged(""), ["recover", "fresh", "quit"]),
        (DatabaseTooNew(""), ["quit"]),
        (DatabaseUnwritable(""), ["retry", "quit"]),
    ],
)
def test_ways_out_of_a_log_that_does_not_open(error: DatabaseDamaged, ways: list[str]) -> None:
    assert ways_out(error) == ways


@pytest.mark.parametrize(("keys", "kept"), [(["enter"], True), (["down", "enter"], False)])
async def test_a_damaged_log_is_kept_aside_and_recovered_or_begun_anew(
    model_home: Paths, engine: FakeEngine, keys: list[str], kept: bool
) -> None:
    damaged = _damage(model_home)
    app = AssistantApp(model_home, Settings(), engine=engine.endpoint, now=lambda: NOW)
    async with app.run_test(size=(100, 30)) as pilot:
        await wait_until(pilot, lambda: isinstance(app.screen, RecoveryScreen))
        await pilot.press(*keys)
        await wait_until(pilot, lambda: app.chat.is_attached_to_logs)
        listing = await app.chat.logs.listing("", NOW, ())
        assert (listing.count > 0) == kept
        await app.action_quit()
    aside = list(model_home.data.glob("log.damaged-*.db"))
    assert [file.read_bytes() for file in aside] == [damaged]


def _damage(home: Paths) -> bytes:
    """A log in which the page that leads to all messages is overwritten; its bytes."""
    from assistant.store.database import open_database

    with closing(open_database(home.database)) as db:
        for number in range(200):
            said(db, f"Talk {number}", ["Hello " * 50, "Hi."])
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()[0]
    content = bytearray(home.database.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    content[(root - 1) * size : (root - 1) * size + 64] = b"\xff" * 64
    home.database.write_bytes(content)
    return bytes(content)
