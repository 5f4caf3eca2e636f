"""The real model trained from the screen by the real commands, a few steps of it."""

import pytest
from sqlite_utils import Database
from textual.widgets import OptionList, Static

from assistant.engine.catalogue import DEFAULT
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import adapters, curation, messages, runs
from assistant.store.database import open_database
from assistant.tui.app import AssistantApp
from assistant.tui.screens.pick import PickScreen
from assistant.tui.screens.train import TrainScreen
from assistant.tui.screens.training import TrainingScreen
from assistant.tui.widgets.loss_plot import LossPlot
from finetune.cli import group
from tests.assistant.tui.conftest import Window, said

COMMANDS = ("data", "train", "eval", "promote", "rollback")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not set(COMMANDS) <= set(group.COMMANDS), reason="a round needs every command of finetune"),
]


LAMPS = ("red", "green", "blue", "white", "amber", "violet", "copper", "silver", "golden", "black", "pink", "grey")


def judge(db: Database) -> None:
    """Twelve exchanges that were rated good, and one that was not."""
    for lamp in LAMPS:
        talk = said(db, lamp, [f"Who lit the {lamp} lamp, and why?", f"Matey, the {lamp} keeper did, for the ships."])
        curation.rate(db, messages.all_of(db, talk)[-1].id, 1)
    said(db, "unjudged", ["Who are you?", "I am a lamp."])


def text(shown: Window, name: str) -> str:
    return str(shown.app.screen.query_one(f"#{name}", Static).render())


async def test_a_whole_round(real_home: Paths) -> None:
    """Data, plan, training, proof, promotion against what the proof says of so few, and back to the base."""
    db = open_database(real_home.database)
    judge(db)
    app = AssistantApp(real_home, Settings(model=DEFAULT))
    async with app.run_test(size=(120, 32)) as pilot:
        shown = Window(app, pilot)
        await shown.open()
        await pilot.press("f7")
        await shown.until(lambda: isinstance(app.screen, TrainScreen))
        await pilot.press("p")
        setup = app.screen.query_one("#setup", OptionList)
        await shown.until(
            lambda: "enter starts it" in str(setup.options[-1].prompt) or bool(text(shown, "problem")), "no plan", 400
        )
        assert not text(shown, "problem")
        assert "12 examples in 12 conversations" in str(setup.options[1].prompt)
        await pilot.press("s")
        await shown.until(lambda: isinstance(app.screen, TrainingScreen), "it was never shown", 400)
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 400)
        curves = app.screen.query_one(LossPlot).curves
        assert curves.train and curves.held_out and curves.steps == curves.train[-1][0]
        made = runs.every(db)[0]
        assert made.adapter_hash == adapters.every(db)[0].hash
        await pilot.press("e")
        await shown.until(lambda: bool(text(shown, "proof")) or bool(text(shown, "problem")), "there was no proof", 400)
        assert "too few to tell" in text(shown, "proof") and "general text" in text(shown, "proof")
        await pilot.press("p")
        await shown.until(lambda: isinstance(app.screen, PickScreen), "it was not asked", 100)
        await pilot.press("down", "enter")
        await shown.until(lambda: adapters.in_use(db, DEFAULT) is not None, "it was not promoted", 100)
        await pilot.press("x")
        await shown.until(lambda: "retrained" in text(shown, "samples").partition("\n")[2], "no samples", 200)
        await pilot.press("escape")
        await shown.until(
            lambda: isinstance(app.screen, TrainScreen) and app.screen.check_action("roll_back", ()) is True
        )
        await pilot.press("z")
        await shown.until(lambda: adapters.in_use(db, DEFAULT) is None, "it was not rolled back", 100)
        await app.action_quit()
    db.close()
