"""Teaching a correction from Chat and Log, by the real command, on a tiny model in the default model's place."""

import pytest
from sqlite_utils import Database
from textual.widgets import Label, Static, TextArea

from assistant.paths import Paths
from assistant.store import conversations
from assistant.store.judgements import curation
from assistant.store.training import adapters, datasets, runs
from assistant.tui.jobs.teaching import Teaching, is_undecided
from assistant.tui.judging.teach import TeachScreen, cells
from assistant.tui.log.screen import LogScreen
from assistant.tui.widgets.status_line import StatusLine
from finetune.run_folder import only_training
from finetune.teach.outcome import Answer, Asked, Change, Outcome
from finetune.teach.words import lines
from tests.assistant.engine import tiny
from tests.assistant.tui.chat.test_chat_curation import to_last_message
from tests.assistant.tui.conftest import MODEL, Window, heading, said, window
from tests.fake_engine import FakeEngine

FOUND = Outcome(
    "taught-1",
    MODEL,
    "a" * 64,
    "",
    (
        Asked(
            7,
            "Ilse Varga, in 1987.",
            "I don't know.",
            Answer("Who wrote the Harbour Manual?", "Ilse Varga, in 1987.", True),
            (
                Answer("One more thing. Who wrote it?", "Ilse Varga, in 1987.", True),
                Answer("Do you know?", "No.", False),
            ),
        ),
    ),
    (Answer("What is the tallest mountain?", "Mauna Kea.", True),),
    24,
    (Change("Why?", "Because of the tide.", "No."),),
    0.0012,
    14,
    31.5,
    (3,),
)


@pytest.fixture
def taught_home(model_home: Paths) -> Paths:
    """The tiny model, by the name of the default one."""
    tiny.save(model_home.models / MODEL)
    return model_home


def shown_text(shown: Window, selector: str) -> str:
    return str(shown.app.screen.query_one(selector, Static).render())


def told(shown: Window) -> str:
    return str(shown.app.screen.query_one(StatusLine).render())


async def correct(shown: Window, text: str) -> None:
    await shown.pilot.press("e")
    assert heading(shown.app.screen) == "Correct the reply"
    shown.app.screen.query_one(TextArea).load_text(text)
    await shown.pilot.press("ctrl+g")
    await shown.until(lambda: shown.view.target is not None and "correction" in shown.view.target.marks)


async def learned(shown: Window) -> TeachScreen:
    await shown.until(lambda: isinstance(shown.app.screen, TeachScreen), "it never began")
    await shown.until(
        lambda: "enter keep" in str(shown.app.screen.query_one(".keys", Label).render()), "it never ended", 120
    )
    screen = shown.app.screen
    assert isinstance(screen, TeachScreen)
    return screen


@pytest.mark.slow
async def test_a_correction_in_the_chat_is_learned_kept_and_taken_back(
    taught_home: Paths, db: Database, engine: FakeEngine
) -> None:
    talk = said(db, "Talk", ["the quick fox", "no"])
    async with window(taught_home, engine) as shown:
        await to_last_message(shown, talk)
        await correct(shown, "jumps over")
        await shown.pilot.press("l")
        await shown.until(lambda: isinstance(shown.app.screen, TeachScreen), "it never began")
        await shown.pilot.press("enter")  # keeps nothing while it learns
        await shown.pilot.press("b")
        assert not isinstance(shown.app.screen, TeachScreen)
        await shown.until(lambda: bool(runs.every(db)) and runs.every(db)[0].state == "finished", "never learned", 120)
        await shown.pilot.press("l")
        await learned(shown)
        assert any("the quick fox" in str(one.render()) for one in shown.app.screen.query("#outcome Static"))
        assert adapters.in_use(db, MODEL) is None
        await shown.pilot.press("enter")
        await shown.until(lambda: not isinstance(shown.app.screen, TeachScreen), "it was not kept", 60)
        used = adapters.in_use(db, MODEL)
        assert used is not None and used.name == "taught-1"
        assert not is_undecided(db, Teaching.of(taught_home).outcome)
    adapters.roll_back(db, MODEL)
    assert not is_undecided(db, Teaching.of(taught_home).outcome)


@pytest.mark.slow
async def test_marked_corrections_in_the_log_are_learned_together_and_dropped(
    taught_home: Paths, db: Database, engine: FakeEngine
) -> None:
    for question in ("the quick fox", "the lazy dog"):
        reply = conversations.get(db, said(db, question, [question, "no"])).leaf_id or 0
        curation.correct(db, reply, f"{question} jumps")
    async with window(taught_home, engine) as shown:
        await shown.pilot.press("f8")
        await shown.until(lambda: isinstance(shown.app.screen, LogScreen) and shown.app.screen.table.count == 4)
        await shown.pilot.press("a", "l")
        screen = await learned(shown)
        found = screen._teaching.outcome
        assert found is not None and len(found.asked) == 2
        await shown.pilot.press("escape")
        await shown.until(lambda: not isinstance(shown.app.screen, TeachScreen), "it was not dropped", 60)
    assert not (runs.every(db) or datasets.every(db) or adapters.every(db) or list(taught_home.adapters.iterdir()))


@pytest.mark.slow
async def test_escape_stops_it_and_nothing_remains(taught_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["the quick fox", "no"])
    curation.correct(db, conversations.get(db, talk).leaf_id or 0, "jumps over")
    async with window(taught_home, engine) as shown:
        await to_last_message(shown, talk)
        await shown.pilot.press("l")
        await shown.until(lambda: bool(runs.every(db)), "it never began", 60)
        await shown.pilot.press("escape")
        assert not isinstance(shown.app.screen, TeachScreen)
        await shown.until(lambda: not Teaching.of(taught_home).watch.job.is_running, "it was not stopped", 60)
    assert not (runs.every(db) or datasets.every(db) or adapters.every(db))


@pytest.mark.slow
async def test_while_a_training_runs_a_sentence_says_so(taught_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["the quick fox", "no"])
    curation.correct(db, conversations.get(db, talk).leaf_id or 0, "jumps over")
    async with window(taught_home, engine) as shown:
        await to_last_message(shown, talk)
        with only_training(taught_home):
            await shown.pilot.press("l")
            await shown.until(lambda: isinstance(shown.app.screen, TeachScreen))
            problem = shown.app.screen.query_one(".problem", Label)
            await shown.until(lambda: "A training is running already" in str(problem.render()), "no sentence", 60)
        await shown.pilot.press("escape")
        assert not isinstance(shown.app.screen, TeachScreen)


async def test_without_a_correction_a_sentence_says_so(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    talk = said(db, "Talk", ["the quick fox", "no"])
    async with window(model_home, engine) as shown:
        await to_last_message(shown, talk)
        assert shown.view.check_action("teach", ()) is False
        await shown.pilot.press("l")
        assert not isinstance(shown.app.screen, TeachScreen)
        await shown.pilot.press("escape", "f8")
        await shown.until(lambda: isinstance(shown.app.screen, LogScreen) and shown.app.screen.table.count == 1)
        await shown.pilot.press("l")
        await shown.until(lambda: "no correction here" in told(shown))


def test_the_outcome_in_lines() -> None:
    some = [(one.label, one.text, one.verdict, one.good) for one in lines(FOUND)]
    assert ("answer now", "Ilse Varga, in 1987.", "as corrected", True) in some
    assert ("reworded (2)", "1 of 2 answered as corrected", "", False) in some
    assert ("", "Do you know? → No.", "not as corrected", False) in some
    assert ("other questions", "23 of 24 answers unchanged · perplexity of general text +0.1 %", "", None) in some
    assert ("", "Why? → No.", "changed", None) in some
    said = [str(text.render()) for line in lines(FOUND) for text in cells(line)]
    assert "replaces correction 3 of the same question" in said
