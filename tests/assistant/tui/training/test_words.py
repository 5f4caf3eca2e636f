"""A training in plain words."""

from dataclasses import replace

import pytest
from sqlite_utils import Database

from assistant.store import messages
from assistant.store.judgements import curation
from assistant.store.training.runs import Run
from assistant.tui.jobs.course import Course
from assistant.tui.train.setup import JUDGED_WELL, Setup, Source, current, free_name, log_state, suggested
from assistant.tui.training import words
from finetune.config import TrainConfig
from finetune.progress import Advanced, Expected, Planned, Stepped, Validated
from tests.assistant.tui.conftest import said

PLANNED = Planned("a-1", 412, 51_200, 20_000, 150, 250.0, 2_100_000_000, 4_900_000)


def run(name: str, config: TrainConfig, data: str = "d") -> Run:
    return Run(1, name, 1, data, "m", "b", {"settings": config.as_json()}, "finished", "", {}, "", 0, 1)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (TrainConfig(), "LoRA, rank 16, all layers · up to 2 epochs"),
        (TrainConfig(method="ia3", epochs=1, patience=0), "IA3 · 1 epoch"),
        (TrainConfig(method="top-layers", layers=2, steps=300), "the last 2 layers · up to 300 steps"),
        (TrainConfig(targets=("q_proj",), epochs=0.5), "LoRA, rank 16, q_proj · up to 0.5 epochs"),
    ],
)
def test_a_method_is_told(config: TrainConfig, told: str) -> None:
    assert words.method(config) == told


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        (0, "as long as it takes"),
        (1, "at most 1 minute"),
        (2.5, "at most 2.5 minutes"),
        (90, "at most 90 minutes"),
        (240, "at most 4 hours"),
    ],
)
def test_a_budget_is_told(minutes: float, told: str) -> None:
    assert words.budget(TrainConfig(budget_minutes=minutes)) == told


def test_a_plan_that_is_longer_than_the_budget_says_so() -> None:
    assert words.plan(PLANNED, TrainConfig()) == "51,200 tokens in 150 steps · about 4 min 10 s · 2.1 GB"
    assert "about 4 min 10 s, cut to 2 min" in words.plan(PLANNED, TrainConfig(budget_minutes=2))


@pytest.mark.parametrize(
    ("reason", "done", "told"),
    [
        ("finished", 120, "120 steps"),
        ("early", 84, "stopped early at 84 of 120 steps, the loss no longer fell"),
        ("budget", 84, "stopped early at 84 of 120 steps, the time was up"),
        ("", 84, "stopped early at 84 of 120 steps"),
        ("", 0, ""),
    ],
)
def test_steps_planned_and_done_agree(reason: str, done: int, told: str) -> None:
    course = Course(laid_out=120)
    course.take_points([(step, {"loss": 3.0}) for step in range(1, done + 1)])
    ended = replace(run("a-1", TrainConfig()), result={"reason": reason} if reason else {})
    assert words.ending(ended, course) == told


def test_work_without_steps_is_told_with_its_share_and_time() -> None:
    course = Course()
    course.take(Advanced("loading the model"))
    assert words.progress(course) == ["loading the model"]
    assert words.advanced(Advanced("test part", 40, 100, 12.3)) == "test part · 40 % · 12 s left"
    assert words.advanced(PLANNED) == words.expected(PLANNED) == ""
    assert words.expected(Expected(412, 51_200, 150, 250.0)) == "about 51,200 tokens in 150 steps, 4 min 10 s"
    assert words.expected(Expected(412, 51_200, 150, None)) == "about 51,200 tokens in 150 steps"


@pytest.mark.parametrize(
    ("judged", "imported", "about"),
    [
        (False, False, "replies you rated good, kept or corrected"),
        (True, True, "replies you rated good, kept or corrected"),
        (False, True, "all imported replies, as nothing is judged yet"),
    ],
)
def test_the_first_source_is_one_that_has_something(db: Database, judged: bool, imported: bool, about: str) -> None:
    talk = said(db, "Sea", ["What is the sea?", "Salt water."])
    if imported:
        db.conn.execute("UPDATE conversations SET source = 'chatgpt'")
        db.conn.execute("UPDATE messages SET source_id = '0'")
    if judged:
        curation.rate(db, messages.all_of(db, talk)[-1].id, 1)
    assert suggested(db).about == about


def test_a_frozen_source_holds_until_the_log_changes(db: Database) -> None:
    frozen = Source("mine", "mine", (), JUDGED_WELL, log_state(db))
    assert current(frozen, log_state(db)) is frozen and current(JUDGED_WELL, log_state(db)) is JUDGED_WELL
    talk = said(db, "Sea", ["What is the sea?", "Salt water."])
    assert current(frozen, log_state(db)) is JUDGED_WELL
    frozen = replace(frozen, log_state=log_state(db))
    curation.rate(db, messages.all_of(db, talk)[-1].id, 1)
    assert current(frozen, log_state(db)) is JUDGED_WELL


def test_the_model_of_the_data_is_whose_tokens_are_counted() -> None:
    """--model would be a filter, which imported and corrected replies don't pass."""
    from finetune.cli.data import command

    arguments = Setup("m").data_arguments("mine")
    read = command.make_context("data", arguments[1:]).params
    assert (read["model"], read["filter_model"], read["name"]) == ("m", None, "mine")


def test_what_two_runs_have_otherwise() -> None:
    before = run("a-1", TrainConfig())
    after = run("a-2", TrainConfig(rank=4, learning_rate=1e-4, checkpointing=True, targets=("q_proj",)), "e")
    assert words.differences(after, before) == [
        "other data",
        "rank 16 → 4",
        "targets none → q_proj",
        "learning rate 0 → 0.0001",
        "checkpointing off → on",
    ]
    assert words.differences(before, before) == []


def test_settings_become_the_options_of_the_trainer() -> None:
    """The real command reads them: it refuses an option that it doesn't know."""
    from finetune.cli.train import command

    config = TrainConfig(
        method="dora", rank=8, budget_minutes=2.5, checkpointing=True, targets=("q_proj", "v_proj"), learning_rate=1e-4
    )
    arguments = Setup("m", Source("", "lamps"), config).train_arguments()
    read = command.make_context("train", arguments[1:]).params
    assert {name: read[name] for name in config.as_json()} == config.as_json()
    assert (read["data"], read["model"]) == ("lamps", "m")


def test_a_step_that_is_done_again_replaces_what_it_said() -> None:
    course = Course()
    course.take_points([(1, {"loss": 3.0}), (2, {"loss": 9.0, "validation_loss": 8.0})])
    later = Course()
    later.take(PLANNED)
    later.take(Stepped(2, 150, 2.5, 1e-4, 1.0, 580.0, 200.0, 1, 60.0))
    later.take(Validated(2, 2.7, best=True))
    course.join(later)
    assert course.curves.train == [(1, 3.0), (2, 2.5)] and course.curves.held_out == [(2, 2.7)]
    assert course.steps == 150


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert [free_name("log", taken) for taken in ([], ["log"], ["log", "log-2"])] == ["log", "log-2", "log-3"]
