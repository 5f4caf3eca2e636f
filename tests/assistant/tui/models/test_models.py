"""The models screen: choose, pull, stop, go on, add, remove. Pulls come over HTTP from a small server."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from assistant.cli.output import duration
from assistant.engine.hardware.machine import Machine
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Model
from assistant.engine.models.fetch import Progress
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tui.app import AssistantApp
from assistant.tui.models.model_rows import model_rows, progress_line
from assistant.tui.models.screen import ModelsScreen
from tests.assistant.engine.test_fetch import Site, model, site
from tests.assistant.tui.conftest import NOW
from tests.assistant.tui.waiting import wait_until
from tests.fake_engine import FakeEngine

__all__ = ["model", "site"]
SMALL = Machine(ram_bytes=8_000_000_000, free_ram_bytes=4_000_000_000, cores=2)


@asynccontextmanager
async def models_screen(home: Paths, engine: FakeEngine) -> AsyncIterator[tuple[Pilot[None], ModelsScreen]]:
    """The first run: a home without a model."""
    app = AssistantApp(home, Settings(), engine=engine.endpoint, machine=SMALL, now=lambda: NOW)
    async with app.run_test(size=(100, 30)) as pilot:
        await wait_until(pilot, lambda: app.chat.is_attached_to_logs and isinstance(app.screen, ModelsScreen))
        assert isinstance(app.screen, ModelsScreen)
        yield pilot, app.screen
        await app.action_quit()


def problem(screen: ModelsScreen) -> str:
    return str(screen.query_one("#problem", Static).render())


@pytest.fixture
def only(model: Model, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The server's model is all that the catalogue has."""
    monkeypatch.setattr(catalogue, "CATALOGUE", (model,))
    monkeypatch.setattr(catalogue, "DEFAULT", model.name)
    return model


async def test_a_pull_ends_in_the_chat(home: Paths, engine: FakeEngine, only: Model) -> None:
    async with models_screen(home, engine) as (pilot, screen):
        await pilot.press("enter")
        await wait_until(pilot, lambda: not screen.is_current)
        app = pilot.app
        assert isinstance(app, AssistantApp)
        assert app.chat.view.opened.setup.model == only.name
    assert [one.name for one in catalogue.installed(home)] == [only.name]


async def test_a_pull_that_broke_off_goes_on(home: Paths, engine: FakeEngine, only: Model, site: Site) -> None:
    site.cut_after = 300_000
    async with models_screen(home, engine) as (pilot, screen):
        await pilot.press("enter")
        await wait_until(pilot, lambda: problem(screen) != "" or not screen.is_current, 20)
        site.cut_after = None
        if screen.is_current:
            await pilot.press("enter")
            await wait_until(pilot, lambda: not screen.is_current)
    assert any(wanted.startswith("bytes=") for _, wanted in site.asked)
    assert [one.name for one in catalogue.installed(home)] == [only.name]


async def test_escape_stops_a_pull(home: Paths, engine: FakeEngine, only: Model, site: Site) -> None:
    go_on = threading.Event()

    class Held(dict[str, bytes]):
        def get(self, path: str, default: object = None) -> object:  # type: ignore[override]
            go_on.wait(10)
            return super().get(path, default)

    site.pages = Held(site.pages)
    async with models_screen(home, engine) as (pilot, screen):
        await pilot.press("enter")
        assert screen.check_action("stop_pull", ())
        await pilot.press("escape")
        go_on.set()
        await wait_until(pilot, lambda: problem(screen) != "")
        assert "Stopped" in problem(screen)
        assert screen.is_current
    assert catalogue.installed(home) == []
    assert only.name  # the catalogue was the server's


async def test_no_network_is_told_in_a_sentence(
    home: Paths, engine: FakeEngine, only: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    async with models_screen(home, engine) as (pilot, screen):
        await pilot.press("enter")
        await wait_until(pilot, lambda: problem(screen) != "", 20)
        assert "127.0.0.1" in problem(screen)
    assert only.name not in catalogue.names(home)


async def test_a_server_can_be_added_and_removed(home: Paths, engine: FakeEngine) -> None:
    async with models_screen(home, engine) as (pilot, screen):
        await pilot.press("a", "down", "enter")
        for field, text in {"name": "work", "url": "http://192.0.2.7/v1", "key_env": "WORK_KEY"}.items():
            pilot.app.screen.query_one(f"#field-{field}", Input).value = text
        await pilot.press("ctrl+g")
        assert screen.row is not None and screen.row.name == "work"
        assert catalogue.remotes(home)[0].key_env == "WORK_KEY"
        await pilot.press("d", "down", "enter")
        await pilot.pause()
    assert catalogue.remotes(home) == []


async def test_an_address_that_is_none_stays_in_the_form(home: Paths, engine: FakeEngine) -> None:
    async with models_screen(home, engine) as (pilot, screen):
        await pilot.press("a", "down", "enter")
        pilot.app.screen.query_one("#field-name", Input).value = "work"
        pilot.app.screen.query_one("#field-url", Input).value = "nowhere"
        await pilot.press("ctrl+g")
        assert "http://" in str(pilot.app.screen.query_one(".problem", Static).render())
        assert pilot.app.screen is not screen


def test_rows_say_what_fits(home: Paths) -> None:
    fits = {row.name: row.fit for row in model_rows(home, SMALL)}
    assert fits[catalogue.DEFAULT] == "fits, suggested"
    assert fits["qwen3-8b"] == "too large"


@pytest.mark.parametrize(("seconds", "words"), [(15, "15 s"), (200, "3 min 20 s"), (3900, "1 h 5 min")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_progress_names_bytes_speed_and_time_left() -> None:
    line = progress_line(Progress("pulling a", 46_400_000, 92_800_000, 3_200_000.0, 14.5), 40).plain
    assert line.startswith("pulling a  46.4 MB of 92.8 MB · 3.2 MB/s · 14 s left")
    assert line.endswith("━" * 20 + "─" * 20)
