"""The real model trained from the screen by the real commands, a few steps of it, on what another program kept."""

import json
from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from assistant.engine.models.catalogue import DEFAULT
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store.database import open_database
from assistant.store.files.imports.importer import import_file
from assistant.store.judgements import curation
from assistant.store.search import exchanges
from assistant.store.training import adapters, datasets, runs
from assistant.tui.app import AssistantApp
from assistant.tui.train.screen import TrainScreen
from assistant.tui.training.loss_plot import LossPlot
from assistant.tui.training.screen import TrainingScreen
from finetune.data.example import Example
from tests.assistant.tui.conftest import Window
from tests.finetune import corpus

pytestmark = pytest.mark.slow


def exported(file: Path) -> Path:
    """A dozen conversations of a real corpus as another program writes them, and one that begins with a reply."""
    talks = [json.loads(line)["messages"] for line in corpus.write(file, most=13).read_text("utf-8").splitlines()]
    talks[-1] = [{"role": "assistant", "content": "Hello, I am here."}, *talks[-1]]
    file.write_text("\n".join(json.dumps({"messages": one}) for one in talks), encoding="utf-8")
    return file


def text(shown: Window, name: str) -> str:
    return str(shown.app.screen.query_one(f"#{name}", Static).render())


def setup(shown: Window) -> str:
    return "\n".join(str(one.prompt) for one in shown.app.screen.query_one("#setup", OptionList).options)


async def test_from_an_imported_log_to_a_promoted_adapter_and_back(real_home: Paths, tmp_path: Path) -> None:
    """F7 and Enter freeze, train and prove; p asks, with what the proof says of so few."""
    db = open_database(real_home.database)
    import_file(db, exported(tmp_path / "talks.jsonl"))
    app = AssistantApp(real_home, Settings(model=DEFAULT))
    async with app.run_test(size=(120, 32)) as pilot:
        shown = Window(app, pilot)
        await shown.open()
        await pilot.press("f7")
        await shown.until(lambda: isinstance(app.screen, TrainScreen))
        replies = exchanges.count(db)
        counts = f"{replies} replies · {replies - 1} used · 1 without a question"
        await shown.until(lambda: counts in setup(shown), "nothing was counted", 60)
        assert "all imported replies, as nothing is judged yet" in setup(shown)
        await pilot.press("enter")
        await shown.until(lambda: isinstance(app.screen, TrainingScreen) or bool(text(shown, "problem")), "", 400)
        assert not text(shown, "problem")
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 400)
        curves = app.screen.query_one(LossPlot).curves
        assert curves.train and curves.held_out and curves.steps == curves.train[-1][0]
        made = runs.every(db)[0]
        assert made.name == "mine-1" and made.adapter_hash == adapters.every(db)[0].hash
        await shown.until(lambda: bool(text(shown, "proof")) or bool(text(shown, "problem")), "there was no proof", 400)
        assert "better" in text(shown, "proof") and "general text" in text(shown, "proof")
        await shown.until(lambda: app.screen.check_action("promote", ()) is True, "the job never ended", 100)
        await pilot.press("p")
        await shown.until(lambda: adapters.in_use(db, DEFAULT) is not None, "it was not promoted", 100)
        await pilot.press("x")
        await shown.until(lambda: "retrained" in text(shown, "samples").partition("\n")[2], "no samples", 200)
        await pilot.press("o")
        await shown.until(lambda: (real_home.runs / "mine-1" / "report.html").stat().st_mtime_ns > 0, "no report", 100)
        await pilot.press("escape")
        await shown.until(
            lambda: isinstance(app.screen, TrainScreen) and app.screen.check_action("roll_back", ()) is True
        )
        await pilot.press("z")
        await shown.until(lambda: adapters.in_use(db, DEFAULT) is None, "it was not rolled back", 100)
        await app.action_quit()
    db.close()


async def test_corrected_and_rated_replies_of_an_imported_log_are_found(real_home: Paths, tmp_path: Path) -> None:
    """Neither was made by the model that is trained."""
    db = open_database(real_home.database)
    import_file(db, exported(tmp_path / "talks.jsonl"))
    replies = [row[0] for row in db.execute("SELECT message_id FROM exchanges ORDER BY message_id")]
    for one in replies[:10]:
        curation.rate(db, one, 1)
    curation.correct(db, replies[10], "Matey, nobody did.")
    curation.decide(db, replies[0], "skip")
    app = AssistantApp(real_home, Settings(model=DEFAULT))
    async with app.run_test(size=(80, 24)) as pilot:
        shown = Window(app, pilot)
        await shown.open()
        await pilot.press("f7")
        counts = "12 judged · 10 used · 1 skipped · 1 corrected"
        await shown.until(lambda: isinstance(app.screen, TrainScreen) and counts in setup(shown), "not counted", 60)
        await pilot.press("p")
        await shown.until(lambda: "enter starts it" in setup(shown) or bool(text(shown, "problem")), "no plan", 400)
        assert not text(shown, "problem")
        assert "mine · " in setup(shown) and "tokens in" in setup(shown)
        await app.action_quit()
    made = datasets.get(db, "mine")
    assert made.statistics["used"] == 10 and made.statistics["left_out"] == {"skipped": 1, "corrected": 1}
    learned = [Example.from_json(one.body) for one in datasets.examples(db, made.id)]
    assert "Matey, nobody did." in [one.messages[-1].content for one in learned]
    db.close()
