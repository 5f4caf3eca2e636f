"""The Train screen, over a program that says what `finetune` says but trains nothing: timing, faults and keys."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlite_utils import Database
from textual.widgets import Input, Label, OptionList, Static, TextArea

from assistant.adapters.folder import hash_of
from assistant.paths import Paths
from assistant.store import messages
from assistant.store.judgements import curation
from assistant.store.training import adapters, datasets, runs
from assistant.tui.dialogs.ask import AskScreen
from assistant.tui.dialogs.pick import PickScreen
from assistant.tui.jobs import commands, job
from assistant.tui.jobs.job import Job
from assistant.tui.judging.compare import CompareScreen
from assistant.tui.log.screen import LogScreen
from assistant.tui.train.screen import TrainScreen
from assistant.tui.training.loss_plot import LossPlot
from assistant.tui.training.screen import TrainingScreen
from finetune.data.example import Example
from prompts.message import Message
from tests.assistant.tui.conftest import MODEL, Window, said, window
from tests.fake_engine import FakeEngine

pytestmark = pytest.mark.slow
FAKE = Path(__file__).with_name("fake_finetune.py")
ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def fake_finetune(monkeypatch: pytest.MonkeyPatch, model_home: Paths) -> Iterator[None]:
    def command(arguments: list[str]) -> list[str]:
        return [sys.executable, "-u", str(FAKE), *arguments]

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(job, "command", command)
    monkeypatch.setattr(commands, "command", command)
    yield
    Job(model_home, "train").stop()


@asynccontextmanager
async def train_screen(home: Paths, engine: FakeEngine, size: tuple[int, int] = (120, 32)) -> AsyncIterator[Window]:
    async with window(home, engine, size=size) as shown:
        await shown.pilot.press("f7")
        await shown.until(lambda: isinstance(shown.app.screen, TrainScreen | TrainingScreen))
        yield shown


def text(shown: Window, name: str) -> str:
    return str(shown.app.screen.query_one(f"#{name}", Static).render())


def setup(shown: Window) -> str:
    return "\n".join(str(one.prompt) for one in shown.app.screen.query_one("#setup", OptionList).options)


async def planned(shown: Window) -> None:
    await shown.pilot.press("p")
    await shown.until(lambda: "enter starts it" in setup(shown), "there was no plan", 60)


async def started(shown: Window) -> TrainingScreen:
    await planned(shown)
    await shown.pilot.press("s")
    await shown.until(lambda: isinstance(shown.app.screen, TrainingScreen), "it was never shown", 60)
    screen = shown.app.screen
    assert isinstance(screen, TrainingScreen)
    return screen


def step(shown: Window) -> int:
    curves = shown.app.screen.query_one(LossPlot).curves
    return curves.train[-1][0] if curves.train else 0


async def test_from_the_plan_to_the_end(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    async with train_screen(model_home, engine) as shown:
        assert "rated good, kept or corrected" in setup(shown)
        await planned(shown)
        assert "3,400 tokens in 40 steps · about 2 min 40 s · 2.1 GB" in setup(shown)
        assert [one.name for one in datasets.every(db)] == ["mine"]
        await shown.pilot.press("enter")
        await shown.until(lambda: isinstance(shown.app.screen, TrainingScreen), "it was never shown", 60)
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 60)
        curves = shown.app.screen.query_one(LossPlot).curves
        assert len(curves.train) == 40 and [at for at, _ in curves.held_out] == [10, 20, 30, 40]
        await shown.until(lambda: "held out 3.20" in text(shown, "progress"), "no outcome", 60)
        assert text(shown, "progress").startswith("40 steps")
        await shown.pilot.press("escape")
        await shown.until(lambda: isinstance(shown.app.screen, TrainScreen))
        line = str(shown.app.screen.query_one("#runs", OptionList).options[0].prompt)
        assert "mine-1" in line and "finished" in line and "3.20" in line


def adapter_in_use(home: Paths, db: Database, kind: str = "LORA") -> None:
    """A low-rank adapter `before` of the model, in use."""
    folder = home.adapters / "before"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": kind, **({"r": 2} if kind == "LORA" else {"num_virtual_tokens": 2})})
    )
    parts = {
        f"base_model.model.model.layers.0.mlp.up_proj.lora_{part}.weight": np.ones((2, 2), np.float32) for part in "AB"
    }
    virtual = {"prompt_embeddings": np.ones((2, 2), np.float32)}
    save_file(parts if kind == "LORA" else virtual, folder / "adapter_model.safetensors")
    hash_ = hash_of(folder)
    adapters.add(db, hash_, "before", None, MODEL, "b" * 64, {})
    adapters.promote(db, hash_)


async def test_it_goes_on_from_the_adapter_in_use_or_from_the_base(
    model_home: Paths, engine: FakeEngine, db: Database
) -> None:
    adapter_in_use(model_home, db)
    async with train_screen(model_home, engine) as shown:
        await shown.until(lambda: "goes on from before, in use" in setup(shown), "the adapter isn't offered")
        assert "as before" in setup(shown)
        await shown.pilot.press("b")
        await shown.until(lambda: isinstance(shown.app.screen, PickScreen))
        await shown.pilot.press("down", "enter")
        await shown.until(lambda: isinstance(shown.app.screen, TrainScreen))
        assert "goes on from the base model" in setup(shown) and "LoRA, rank 16" in setup(shown)
        await shown.pilot.press("b", "up", "enter")
        await shown.until(lambda: "goes on from before, in use" in setup(shown))
        await started(shown)
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 60)
        assert "goes on from before" in text(shown, "facts")
    assert runs.every(db)[0].config["start"] == {"adapter": "before"}


async def test_another_method_begins_with_the_base(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    adapter_in_use(model_home, db)
    async with train_screen(model_home, engine) as shown:
        await shown.until(lambda: "goes on from before, in use" in setup(shown), "the adapter isn't offered")
        await shown.pilot.press("m")
        await shown.until(lambda: isinstance(shown.app.screen, PickScreen))
        await shown.pilot.press("down", "down", "enter")
        await shown.until(lambda: "goes on from the base model" in setup(shown))
        assert "DoRA" in setup(shown)


async def test_what_cant_go_on_is_not_offered(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    adapter_in_use(model_home, db, "PROMPT_TUNING")
    async with train_screen(model_home, engine) as shown:
        await shown.until(lambda: "58 used" in setup(shown), "nothing was counted", 60)
        assert "goes on from" not in setup(shown)


async def test_pause_and_stop_and_resume(
    model_home: Paths, engine: FakeEngine, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.1")
    async with train_screen(model_home, engine) as shown:
        await started(shown)
        await shown.until(lambda: "580 tok/s" in text(shown, "progress"), "no speed")
        await shown.pilot.press("space")
        await shown.until(lambda: "paused" in text(shown, "name"))
        await shown.pilot.pause(0.3)
        at = runs.points(db, 1)[-1][0]
        await shown.pilot.pause(0.5)
        assert runs.points(db, 1)[-1][0] == at
        await shown.pilot.press("space")
        await shown.until(lambda: step(shown) > at + 1, "it never went on")
        await shown.pilot.press("s")
        await shown.until(lambda: "stopped" in text(shown, "name"), "it never stopped")
        stopped_at = step(shown)
        assert 0 < stopped_at < 40
        monkeypatch.setenv("FAKE_STEP_S", "0.01")
        await shown.pilot.press("r")
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 60)
        assert [at for at, _ in shown.app.screen.query_one(LossPlot).curves.train] == list(range(1, 41))


async def test_it_goes_on_without_a_window_and_is_found_again(
    model_home: Paths, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.2")
    async with train_screen(model_home, engine) as shown:
        await started(shown)
        await shown.until(lambda: step(shown) >= 1)
    async with train_screen(model_home, engine) as shown:
        await shown.until(lambda: isinstance(shown.app.screen, TrainingScreen), "it was not found")
        await shown.until(lambda: "tok/s" in text(shown, "progress") and step(shown) > 2, "it does not go on")
        await shown.pilot.press("s")
        await shown.until(lambda: "stopped" in text(shown, "name"), "it never stopped")


async def test_a_killed_one_is_told_as_broken_off(
    model_home: Paths, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_S", "0.1")
    async with train_screen(model_home, engine) as shown:
        await started(shown)
        await shown.until(lambda: step(shown) >= 2)
        os.kill(json.loads((model_home.run / "train.json").read_text())["pid"], signal.SIGKILL)
        await shown.until(lambda: "interrupted" in text(shown, "name"), "its end was not seen")
        monkeypatch.setenv("FAKE_STEP_S", "0.01")
        await shown.pilot.press("r")
        await shown.until(lambda: "finished" in text(shown, "name"), "it never went on", 60)


async def test_its_own_sentence_is_shown(
    model_home: Paths, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL_AT", "5")
    async with train_screen(model_home, engine) as shown:
        await started(shown)
        await shown.until(lambda: "failed" in text(shown, "name"), "its failure was not seen", 60)
        assert text(shown, "problem") == "The loss of example 3 is no number."


async def test_what_can_not_be_planned_is_told(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    datasets.add(db, "old", "supervised", "d" * 64, {}, {}, [])
    async with train_screen(model_home, engine) as shown:
        await shown.pilot.press("d", *"old", "enter")
        await shown.until(lambda: "old · 0 examples" in setup(shown))
        datasets.delete(db, "old")
        await shown.pilot.press("p")
        await shown.until(lambda: "There is no dataset 'old'" in text(shown, "problem"), "nothing was told", 60)
        assert "enter trains the model" in setup(shown)


async def test_a_change_takes_the_plan_away(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    async with train_screen(model_home, engine) as shown:
        await planned(shown)
        await shown.pilot.press("m", *"rank 4", "enter")
        await shown.until(lambda: "rank 4" in setup(shown))
        assert "enter trains the model" in setup(shown)
        await shown.pilot.press("t", *"3.5", "enter")
        await shown.until(lambda: "at most 3.5 minutes" in setup(shown))
        await started(shown)
        assert runs.every(db)[0].config["settings"]["rank"] == 4
        assert [one.name for one in datasets.every(db)] == ["mine"]


async def test_settings_that_make_no_sense_are_told(model_home: Paths, engine: FakeEngine) -> None:
    async with train_screen(model_home, engine) as shown:
        await shown.pilot.press("m", *"everything", "enter")
        await shown.until(lambda: bool(shown.app.screen.query("#field-rank")))
        for name, wrong, told in (("rank", "many", "needs a number"), ("rank", "0", "at least 1")):
            shown.app.screen.query_one(f"#field-{name}", Input).value = wrong
            await shown.pilot.press("ctrl+g")
            await shown.until(lambda told=told: told in str(shown.app.screen.query_one(".problem").render()))
        shown.app.screen.query_one("#field-rank", Input).value = "8"
        shown.app.screen.query_one("#field-learning_rate", Input).value = "nan"
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: "'nan'" in str(shown.app.screen.query_one(".problem").render()))
        shown.app.screen.query_one("#field-learning_rate", Input).value = "1e-4"
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: isinstance(shown.app.screen, TrainScreen))
        assert "rank 8" in setup(shown)


async def test_what_the_log_shows_is_learned_from(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    said(db, "Sea", ["What is the sea?", "Salt water."])
    async with window(model_home, engine) as shown:
        await shown.pilot.press("f8")
        await shown.until(lambda: isinstance(shown.app.screen, LogScreen) and not shown.app.screen.has_class("-empty"))
        await shown.pilot.press("f", *"good #sea since:2026-11-01", "f7")
        await shown.until(lambda: isinstance(shown.app.screen, TrainScreen))
        assert "the log: good #sea since:2026-11-01" in setup(shown)
        await planned(shown)
        asked = datasets.every(db)[0].source["asked"]
        assert asked[4:-1] == ["--all", "--since", "2026-11-01T00:00:00", "--rating", "good", "--tag", "sea"]


async def test_discarding_deletes_the_adapter_and_keeps_the_run(
    model_home: Paths, engine: FakeEngine, db: Database
) -> None:
    async with train_screen(model_home, engine) as shown:
        await started(shown)
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 60)
        assert (model_home.adapters / "mine-1").is_dir()
        await shown.until(lambda: shown.app.screen.check_action("discard", ()) is True, "no proof", 60)
        await shown.pilot.press("d")
        await shown.until(lambda: isinstance(shown.app.screen, AskScreen))
        await shown.pilot.press("down", "enter")
        await shown.until(lambda: not adapters.every(db))
        assert not (model_home.adapters / "mine-1").exists() and runs.every(db)
        await shown.until(lambda: shown.app.screen.check_action("try_it", ()) is False)


@pytest.mark.parametrize("size", [(80, 24), (120, 32)])
async def test_the_two_settings_that_differ_are_told(
    model_home: Paths, engine: FakeEngine, size: tuple[int, int]
) -> None:
    async with train_screen(model_home, engine, size) as shown:
        await started(shown)
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 60)
        await shown.pilot.press("escape", "m", *"rank 4", "enter")
        await started(shown)
        await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 60)
        await shown.pilot.press("escape")
        await shown.until(lambda: text(shown, "details") == "Compared with mine-1: rank 16 → 4.")


async def trained(shown: Window) -> None:
    await started(shown)
    await shown.until(lambda: "finished" in text(shown, "name"), "it never ended", 60)


async def test_without_a_plan_it_is_made_started_and_proved(
    model_home: Paths, engine: FakeEngine, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7, Enter, and p: nothing else is pressed."""
    monkeypatch.setenv("FAKE_VERDICT", "better")
    monkeypatch.setenv("FAKE_PROOF_S", "0.7")
    async with train_screen(model_home, engine) as shown:
        await shown.until(lambda: "60 judged · 58 used · 1 failed · 1 skipped" in setup(shown), "nothing was counted")
        assert "about 40 more rated replies to tell a 10 % gain from chance" in setup(shown)
        await shown.pilot.press("enter")
        await shown.until(lambda: isinstance(shown.app.screen, TrainingScreen), "it was never shown", 60)
        await shown.until(
            lambda: "proving · test part · 40 % · 12 s left" in text(shown, "progress"), "no progress", 20
        )
        assert shown.app.screen.check_action("promote", ()) is False
        await shown.until(lambda: text(shown, "banner") == "mine-1 is better (-38 %) · p promote", "no banner", 60)
        await shown.pilot.press("p")
        await shown.until(lambda: adapters.in_use(db, MODEL) is not None, "it was not promoted", 60)
        await shown.until(lambda: not text(shown, "banner") and "in use" in text(shown, "name"))
        assert not adapters.history(db, MODEL)[0].anyway


async def test_a_better_run_waits_on_the_train_screen(
    model_home: Paths, engine: FakeEngine, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VERDICT", "better")
    async with train_screen(model_home, engine) as shown:
        await trained(shown)
        await shown.until(lambda: bool(text(shown, "banner")), "no banner", 60)
    async with train_screen(model_home, engine) as shown:
        await shown.until(lambda: text(shown, "banner") == "mine-1 is better (-38 %) · p promote", "no banner", 60)
        await shown.pilot.press("p")
        await shown.until(lambda: adapters.in_use(db, MODEL) is not None, "it was not promoted", 60)
        await shown.pilot.press("escape")
        await shown.until(lambda: isinstance(shown.app.screen, TrainScreen) and not text(shown, "banner"))
        assert shown.app.screen.check_action("promote", ()) is False


async def test_an_end_in_the_chat_is_told_and_f7_shows_it(
    model_home: Paths, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VERDICT", "better")
    monkeypatch.setenv("FAKE_STEP_S", "0.05")
    async with train_screen(model_home, engine) as shown:
        await started(shown)
        await shown.pilot.press("escape", "escape")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        told = "mine-1 is better (-38 %) · F7 promote"
        await shown.until(lambda: told in [one.message for one in shown.app._notifications], "nothing was told", 60)
        await shown.pilot.press("f7")
        await shown.until(lambda: isinstance(shown.app.screen, TrainingScreen), "it was not shown")


async def test_what_is_not_shown_to_be_better_is_asked_about_with_the_reason(
    model_home: Paths, engine: FakeEngine, db: Database
) -> None:
    async with train_screen(model_home, engine, (80, 24)) as shown:
        await trained(shown)
        await shown.until(lambda: shown.app.screen.check_action("promote", ()) is True, "no proof", 60)
        await shown.until(lambda: "-1.0 % (-3.0 % … +1.0 %)" in text(shown, "proof"), "no proof", 60)
        assert text(shown, "proof").split("\n")[1].endswith("unclear")
        assert not text(shown, "banner")
        await shown.pilot.press("p")
        await shown.until(lambda: isinstance(shown.app.screen, AskScreen), "it was not asked", 60)
        assert text(shown, "why") == "It is not shown to be better: perplexity changed by -3.0% to +1.0%."
        await shown.pilot.press("enter")  # the first answer leaves it
        await shown.pilot.pause(0.3)
        assert not adapters.history(db, MODEL)
        await shown.pilot.press("p")
        await shown.until(lambda: isinstance(shown.app.screen, AskScreen), "it was not asked", 60)
        await shown.pilot.press("down", "enter")
        await shown.until(lambda: "in use" in text(shown, "name"), "it was not promoted", 60)
        assert adapters.history(db, MODEL)[0].anyway
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.app.screen.check_action("roll_back", ()) is True)
        line = str(shown.app.screen.query_one("#runs", OptionList).options[0].prompt)
        assert "in use" in line and "perplexity -1.0 %, unclear" in line
        await shown.pilot.press("z")
        await shown.until(lambda: adapters.in_use(db, MODEL) is None, "it was not rolled back", 60)


async def test_what_was_never_proved_is_proved_first(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    async with train_screen(model_home, engine) as shown:
        await trained(shown)
        await shown.until(lambda: bool(text(shown, "proof")), "no proof", 60)
        with db.conn:
            db.execute("DELETE FROM evaluations")
        await shown.until(lambda: not text(shown, "proof"))
        await shown.pilot.press("p")
        await shown.until(lambda: isinstance(shown.app.screen, AskScreen), "it was not asked", 60)
        assert "was not compared with its base yet" in text(shown, "why")
        await shown.pilot.press("enter")
        await shown.until(lambda: bool(runs.evaluation(db, 1)), "it was not proved", 60)
        assert not adapters.history(db, MODEL)


async def test_a_proof_can_be_stopped_and_made_again(
    model_home: Paths, engine: FakeEngine, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PROOF_S", "5")
    async with train_screen(model_home, engine) as shown:
        await trained(shown)
        await shown.until(lambda: shown.app.screen.check_action("stop_evaluation", ()) is True, "no proof", 60)
        await shown.pilot.press("e")
        await shown.until(lambda: "It was stopped." in text(shown, "problem"), "it was not stopped", 60)
        assert runs.evaluation(db, 1) is None and "finished" in text(shown, "name")
        monkeypatch.setenv("FAKE_PROOF_S", "0")
        await shown.pilot.press("e")
        await shown.until(lambda: bool(text(shown, "proof")), "no proof", 60)


async def test_arrows_lead_from_the_settings_to_the_trainings_and_back(model_home: Paths, engine: FakeEngine) -> None:
    async with train_screen(model_home, engine) as shown:
        await shown.pilot.press("down", "down")  # no training yet: the last row keeps the cursor
        assert shown.app.screen.query_one("#setup", OptionList).highlighted == 4
        await trained(shown)
        await shown.pilot.press("escape", "down")
        setup_, trainings = (shown.app.screen.query_one(name, OptionList) for name in ("#setup", "#runs"))
        await shown.until(lambda: trainings.has_focus and trainings.highlighted == 0)
        await shown.pilot.press("up", "up")
        await shown.until(lambda: setup_.has_focus and setup_.highlighted == 3)


async def test_the_report_is_opened_or_its_place_told(model_home: Paths, engine: FakeEngine) -> None:
    async with train_screen(model_home, engine) as shown:
        await trained(shown)
        await shown.pilot.press("o")
        told = "The report: open /runs/mine-1/report.html in a browser."
        await shown.until(lambda: told in [one.message for one in shown.app._notifications], "nothing was told", 60)


async def test_a_frozen_dataset_is_made_again_when_the_log_has_changed(
    model_home: Paths, engine: FakeEngine, db: Database
) -> None:
    talk = said(db, "Sea", ["What is the sea?", "Salt water."])
    async with train_screen(model_home, engine) as shown:
        await trained(shown)
        await shown.pilot.press("escape")
        await shown.until(lambda: "mine · 12 examples" in setup(shown))
        await shown.pilot.press("escape")
        curation.rate(db, messages.all_of(db, talk)[-1].id, 1)
        await shown.pilot.press("f7")
        await shown.until(lambda: "60 judged" in setup(shown) and "mine" not in setup(shown), "it kept the dataset")
        await trained(shown)
        assert [one.name for one in datasets.every(db)] == ["mine-2", "mine"]
        assert [one.name for one in runs.every(db)] == ["mine-2", "mine-1"]


async def test_both_answer_side_by_side_and_the_vote_is_kept(
    model_home: Paths, engine: FakeEngine, db: Database
) -> None:
    async with train_screen(model_home, engine) as shown:
        await trained(shown)
        await shown.pilot.press("v")
        await shown.until(lambda: bool(shown.app.screen.query(TextArea)))
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: "empty" in str(shown.app.screen.query_one(".problem", Label).render()))
        shown.app.screen.query_one(TextArea).load_text("What is a lamp?")
        await shown.pilot.press("ctrl+g")
        await shown.until(lambda: isinstance(shown.app.screen, CompareScreen), "it was never made", 60)
        assert sorted(one.get("adapter") or "" for one in engine.requests[-2:]) == ["", "mine-1"]
        await shown.pilot.press("a", "enter")
        await shown.until(lambda: isinstance(shown.app.screen, TrainingScreen))
        assert [one.blind for one in curation.preferences(db)] == [True]


async def test_samples_of_both_are_shown(model_home: Paths, engine: FakeEngine, db: Database) -> None:
    async with train_screen(model_home, engine) as shown:
        await trained(shown)
        await shown.pilot.press("x")
        await shown.until(lambda: "no held-out part" in text(shown, "problem"), "nothing was told")
        said_ = (Message("user", "What is a lamp?"), Message("assistant", "A light."))
        one = Example(said_, frozenset({1}))
        made = datasets.every(db)[0]
        with db.conn:
            db["examples"].insert(
                {"dataset_id": made.id, "split": "test", "group_id": 1, "hash": one.hash, "body": one.as_json()}
            )
        await shown.pilot.press("x")
        await shown.until(lambda: text(shown, "samples").count("retrained") == 1, "no samples", 60)
        assert text(shown, "samples").startswith("What is a lamp?\nbase")
