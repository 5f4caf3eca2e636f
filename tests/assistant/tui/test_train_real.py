"""The real model trained from the screen by the real commands, a few steps of it."""

import pytest
from sqlite_utils import Database
from textual.widgets import OptionList, Static

from assistant.engine.catalogue import DEFAULT
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import adapters, datasets, runs
from assistant.store.database import open_database
from assistant.store.datasets import StoredExample
from assistant.tui.app import AssistantApp
from assistant.tui.screens.train import TrainScreen
from assistant.tui.screens.training import TrainingScreen
from assistant.tui.widgets.loss_plot import LossPlot
from finetune.example import Example
from prompts.message import Message
from tests.assistant.tui.conftest import Window

pytestmark = pytest.mark.slow


def freeze(db: Database) -> None:
    """Twelve exchanges about lamps, as `finetune data` freezes them."""
    parts = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    examples = []
    for number, part in enumerate(parts):
        said = (Message("user", f"Who lit lamp {number}?"), Message("assistant", f"Keeper {number} lit it, matey."))
        one = Example(said, frozenset({1}))
        examples.append(StoredExample(part, number, None, one.hash, one.as_json()))
    datasets.add(db, "lamps", "supervised", "d" * 64, {}, {}, examples)


def text(shown: Window, name: str) -> str:
    return str(shown.app.screen.query_one(f"#{name}", Static).render())


async def test_planned_started_and_ended(real_home: Paths) -> None:
    db = open_database(real_home.database)
    freeze(db)
    app = AssistantApp(real_home, Settings(model=DEFAULT))
    async with app.run_test(size=(120, 32)) as pilot:
        shown = Window(app, pilot)
        await shown.open()
        await pilot.press("f7")
        await shown.until(lambda: isinstance(app.screen, TrainScreen))
        await pilot.press("d", *"lamps", "enter", "p")
        setup = app.screen.query_one("#setup", OptionList)
        await shown.until(
            lambda: "enter starts it" in str(setup.options[-1].prompt) or text(shown, "problem"),
            "there was no plan",
            90,
        )
        assert not text(shown, "problem")
        assert str(setup.options[-1].prompt).split()[1:3] == ["8", "examples"]
        await pilot.press("s")
        await shown.until(lambda: isinstance(app.screen, TrainingScreen), "it was never shown", 180)
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 300)
        curves = app.screen.query_one(LossPlot).curves
        assert curves.train and curves.held_out and curves.steps == curves.train[-1][0]
        made = runs.every(db)[0]
        assert made.adapter_hash == adapters.every(db)[0].hash
        await app.action_quit()
    db.close()
