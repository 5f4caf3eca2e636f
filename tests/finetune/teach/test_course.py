"""Teaching from end to end, on a tiny random model."""

import pytest
from sqlite_utils import Database

from assistant.errors import TrainingError, TrainingRefused
from assistant.paths import Paths
from assistant.store.judgements import curation
from assistant.store.training import adapters, datasets, runs
from finetune.lineage.lineage import Start
from finetune.progress import Progress, Stepped
from finetune.run_folder import only_training
from finetune.teach import corrections, course, decide, loop
from finetune.teach.loop import Pace
from finetune.teach.outcome import Outcome
from tests.finetune.conftest import TINY
from tests.finetune.teach.conftest import corrected

FAST = Pace(steps=2)


def quiet(_: Progress) -> None:
    pass


def taught(db: Database, home: Paths, *ids: int, pace: Pace = FAST) -> Outcome:
    found = course.teach(db, home, ids, "", quiet, pace=pace)
    assert found is not None
    return found


def nothing_remains(db: Database, home: Paths) -> bool:
    folders = [*home.adapters.glob("*"), *(one for one in home.runs.glob("*") if one.is_dir())]
    return not (folders or runs.every(db) or datasets.every(db) or adapters.every(db))


def test_kept_it_is_in_use_and_rollback_takes_it_back(talks: Database, home: Paths) -> None:
    _, correction = corrected(talks, "the quick fox", "no", "jumps over the dog")
    found = taught(talks, home, correction)
    assert adapters.in_use(talks, TINY) is None
    decide.keep(talks, home, found.run)
    used = adapters.in_use(talks, TINY)
    assert used is not None and used.name == found.run == "taught-1"
    assert used.lineage["dataset"]["sha256"] == runs.get(talks, found.run).dataset_hash
    assert adapters.roll_back(talks, TINY) is None


def test_the_next_goes_on_from_the_one_in_use_and_replays_it(talks: Database, home: Paths) -> None:
    first = taught(talks, home, corrected(talks, "the quick fox", "no", "jumps over")[1])
    decide.keep(talks, home, first.run)
    second = taught(talks, home, corrected(talks, "the lazy dog", "no", "sleeps")[1])
    assert second.start == first.run
    assert [one.question for one in second.earlier] == ["the quick fox"]
    start = runs.get(talks, second.run).config["start"]
    assert (start["adapter"], start["sha256"]) == (first.run, first.adapter_hash)
    decide.keep(talks, home, second.run)
    used = adapters.in_use(talks, TINY)
    assert used is not None
    known = corrections.taught_before(talks, Start.of(used))
    assert [one.text for one in known] == ["sleeps", "jumps over"]


def test_another_correction_of_the_same_question_replaces_the_one_taught_before(talks: Database, home: Paths) -> None:
    reply, first_id = corrected(talks, "the quick fox", "no", "jumps over")
    first = taught(talks, home, reply)
    decide.keep(talks, home, first.run)
    curation.correct(talks, reply, "sleeps")
    second = taught(talks, home, reply)
    assert second.replaces == (first_id,)
    assert [one.correction for one in second.asked] == ["sleeps"] and not second.earlier


def test_dropped_nothing_remains(talks: Database, home: Paths) -> None:
    found = taught(talks, home, corrected(talks, "the quick fox", "no", "jumps over")[1])
    decide.drop(talks, home, found.run)
    assert nothing_remains(talks, home)


def test_what_is_in_use_is_not_dropped(talks: Database, home: Paths) -> None:
    found = taught(talks, home, corrected(talks, "the quick fox", "no", "jumps over")[1])
    decide.keep(talks, home, found.run)
    with pytest.raises(TrainingRefused, match="is in use"):
        decide.drop(talks, home, found.run)


def test_stopped_nothing_remains(talks: Database, home: Paths) -> None:
    asked = [False, False, True]
    ids = corrected(talks, "the quick fox", "no", "jumps over")[1:]
    assert course.teach(talks, home, ids, "", quiet, lambda: asked.pop(0), pace=FAST) is None
    assert nothing_remains(talks, home)


def test_failed_nothing_remains(talks: Database, home: Paths) -> None:
    ids = corrected(talks, "the quick fox", "no", "jumps over")[1:]
    with pytest.raises(TrainingError):
        course.teach(talks, home, ids, "", quiet, pace=Pace(steps=3, warmup=1, learning_rate=1e30))
    assert nothing_remains(talks, home)


def test_what_a_kill_left_is_dropped_by_the_next(talks: Database, home: Paths) -> None:
    _, correction = corrected(talks, "the quick fox", "no", "jumps over")
    dataset = corrections.freeze(talks, corrections.find(talks, [correction]))
    told = {corrections.NAME: [correction], "settings": {}, "start": None}
    killed = runs.add(talks, dataset.name, dataset.id, dataset.hash, TINY, "base", told)
    (home.adapters / killed.name).mkdir()
    (home.runs / killed.name / "best").mkdir(parents=True)
    found = taught(talks, home, correction)
    assert found.run == killed.name  # its name is free again
    assert [one.name for one in runs.every(talks)] == [found.run]


def test_while_a_training_runs_it_is_refused_and_nothing_changes(talks: Database, home: Paths) -> None:
    _, correction = corrected(talks, "the quick fox", "no", "jumps over")
    with only_training(home), pytest.raises(TrainingRefused, match="training is running"):
        taught(talks, home, correction)
    assert nothing_remains(talks, home)


def test_training_learns_the_correction(talks: Database, home: Paths) -> None:
    losses = []

    def heard(progress: Progress) -> None:
        if isinstance(progress, Stepped):
            losses.append(progress.loss)

    ids = corrected(talks, "the quick fox", "no", "jumps over the dog")[1:]
    found = course.teach(talks, home, ids, "", heard, pace=Pace(steps=40, learning_rate=5e-3))
    assert found is not None and losses[-1] < losses[0] / 4


def test_the_report_is_one_of_an_evaluation(talks: Database, home: Paths) -> None:
    found = taught(talks, home, corrected(talks, "the quick fox", "no", "jumps over the dog")[1])
    evaluation = runs.evaluation(talks, runs.get(talks, found.run).id)
    assert evaluation is not None and evaluation.adapter_hash == found.adapter_hash
    assert "jumps" not in str(evaluation.report)
    assert {one["key"] for one in evaluation.report["measures"]} == {"taught", "forgetting"}
    assert Outcome.from_json(found.as_json()) == found


def test_a_rate_rises_and_falls() -> None:
    rates = [loop._rate(Pace(learning_rate=1.0, warmup=4), step, 20) for step in range(20)]
    assert rates[0] < rates[3] and rates[3] > rates[10] > rates[-1] > 0
