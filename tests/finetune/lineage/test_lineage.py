"""Trainings of a tiny model one after the other: what goes on, is replayed, is asked again, and is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sqlite_utils import Database

from assistant.cli.group import run as run_command
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters as registry
from assistant.store.training import datasets, runs
from finetune.cli.group import top
from finetune.config import TrainConfig
from finetune.data.example import Kind
from finetune.lineage import lineage
from finetune.lineage.lineage import Learned, Start
from finetune.progress import Planned, Progress, Stepped
from finetune.prove import promote, prove
from finetune.prove.objections import verdicts
from finetune.prove.report import html_page, tables
from finetune.prove.report.texts import CHINESE, ENGLISH
from finetune.run_folder import RunFolder
from finetune.train import run
from tests.finetune import conftest
from tests.finetune.conftest import TINY

SMALL: dict[str, Any] = {"precision": "float32", "rank": 4, "tokens_per_step": 512, "learning_rate": 5e-3, "steps": 4}


def freeze(db: Database, kind: Kind = "supervised", count: int = 24, name: str = "data") -> datasets.Dataset:
    """As the usual one, but every example says what no other dataset does."""
    made = conftest.freeze(db, kind, count, f"{name} as others")
    rows = [
        replace(one, hash=f"{name} {place}", body=one.body.replace('"content": "', f'"content": "{name} {place} ', 1))
        for place, one in enumerate(datasets.examples(db, made.id))
    ]
    datasets.delete(db, made.name)
    told = {"tokens": 40 * count, "examples": {"train": count}, "supervised_share": 0.5}
    return datasets.add(db, name, kind, f"hash of {name}", {}, told, rows)


def trained(
    db: Database, home: Paths, data: str, start: str = "base", given: tuple[str, ...] = (), **settings: Any
) -> tuple[runs.Run, list[Progress]]:
    """A run on a dataset, and what it said."""
    told: list[Progress] = []
    config = TrainConfig(**{**SMALL, **settings})
    done = run.begin(db, home, data, TINY, config, told.append, start=start, given=given)
    assert done is not None
    return done, told


def losses(told: list[Progress]) -> list[float]:
    return [one.loss for one in told if isinstance(one, Stepped)]


def planned(told: list[Progress]) -> Planned:
    return next(one for one in told if isinstance(one, Planned))


def test_three_trainings_keep_the_chain(db: Database, home: Paths) -> None:
    for name, count in (("one", 24), ("two", 40), ("three", 32)):
        freeze(db, count=count, name=name)
    first, _ = trained(db, home, "one")
    promote.promote(db, home, first.name, anyway=True)
    second, told = trained(db, home, "two", lineage.IN_USE)
    assert planned(told).start == first.name
    third, told = trained(db, home, "three", second.name)
    start = Start.from_json(third.config["start"])
    assert start == Start(
        second.name, second.adapter_hash, (Learned("two", "hash of two"), Learned("one", "hash of one"))
    )
    made = registry.find(db, third.adapter_hash)
    assert made is not None and made.lineage["start"] == third.config["start"]
    runs.delete(db, first.name)
    runs.delete(db, second.name)
    assert start is not None and [one.name for one in start.behind(db)[0]] == ["two", "one"]


def test_it_begins_with_the_adapters_weights_and_learns_less_of_the_replay(db: Database, home: Paths) -> None:
    freeze(db, count=24, name="one")
    freeze(db, count=64, name="two")
    first, _ = trained(db, home, "one", steps=12)
    second, after = trained(db, home, "two", first.name, learning_rate=1e-9, steps=4)
    was, now = (load_file(home.adapters / one.name / "adapter_model.safetensors") for one in (first, second))
    assert was.keys() == now.keys() and all(torch.allclose(was[name], now[name], atol=1e-6) for name in was)
    assert 0 < planned(after).replayed <= 18 and planned(after).examples == 48
    assert planned(after).start == first.name
    alone, _ = trained(db, home, "two", first.name, steps=1, replay_share=0.0)
    assert "replayed" in alone.config and not alone.config["replayed"]


def test_a_resumed_run_is_bit_for_bit_the_whole_one(db: Database, home: Paths) -> None:
    freeze(db, count=24, name="one")
    freeze(db, count=64, name="two")
    first, _ = trained(db, home, "one")
    whole, told = trained(db, home, "two", first.name, steps=6)
    parts: list[Progress] = []

    def say(one: Progress) -> None:
        parts.append(one)
        if isinstance(one, Stepped) and one.step == 3:
            RunFolder(home, runs.every(db)[0].name).want("stop")

    stopped = run.begin(db, home, "two", TINY, TrainConfig(**{**SMALL, "steps": 6}), say, start=first.name)
    assert stopped is not None and stopped.state == "stopped"
    done = run.resume(db, home, stopped.name, parts.append)
    assert losses(parts) == losses(told)
    assert done.adapter_hash == whole.adapter_hash


def stopped_run(db: Database, home: Paths) -> runs.Run:
    """A run from an adapter, stopped after its first step."""
    freeze(db, count=24, name="one")
    freeze(db, count=64, name="two")
    first, _ = trained(db, home, "one")

    def say(one: Progress) -> None:
        if isinstance(one, Stepped):
            RunFolder(home, runs.every(db)[0].name).want("stop")

    stopped = run.begin(db, home, "two", TINY, TrainConfig(**SMALL), say, start=first.name)
    assert stopped is not None
    return stopped


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda home, name: RunFolder(home, name).replay.unlink(), "begin another training"),
        (lambda home, name: RunFolder(home, name).replay.write_bytes(b"x"), "begin another training"),
        (lambda home, _: shutil.rmtree(home.adapters / "one-1"), "is gone"),
    ],
    ids=["targets gone", "targets damaged", "adapter gone"],
)
def test_a_run_that_cant_go_on_says_why(
    db: Database, home: Paths, harm: Callable[[Paths, str], None], sentence: str
) -> None:
    stopped = stopped_run(db, home)
    harm(home, stopped.name)
    with pytest.raises(TrainingRefused, match=sentence):
        run.resume(db, home, stopped.name, lambda _: None)


def test_replay_misses_what_was_deleted_since(db: Database, home: Paths) -> None:
    stopped = stopped_run(db, home)
    datasets.delete(db, "one")
    with pytest.raises(TrainingRefused, match="were deleted since"):
        run.resume(db, home, stopped.name, lambda _: None)
    _, told = trained(db, home, "two", "one-1")
    assert (planned(told).deleted, planned(told).replayed) == ("one", 0)


REFUSED: dict[str, tuple[str, dict[str, Any], tuple[str, ...], str]] = {
    "unknown": ("nobody", {}, (), "There is no adapter 'nobody'"),
    "rank": ("one-1", {"rank": 8}, ("rank",), "has rank 4, which further training can't change to 8"),
    "method": ("one-1", {"method": "dora"}, ("method",), "has method lora"),
    "targets": ("one-1", {"targets": ("q_proj",)}, ("targets",), "has targets of all linears"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_contradiction_is_refused(db: Database, home: Paths, case: str) -> None:
    start, settings, given, sentence = REFUSED[case]
    freeze(db, name="one")
    trained(db, home, "one", steps=1)
    with pytest.raises(TrainingRefused, match=sentence):
        trained(db, home, "one", start, given, **settings)


def test_settings_that_are_not_given_are_the_adapters(db: Database, home: Paths) -> None:
    freeze(db, name="one")
    first, _ = trained(db, home, "one", steps=1, rank=2, method="rslora", alpha=6.0, targets=("q_proj", "v_proj"))
    done, _ = trained(db, home, "one", first.name, steps=1)
    kept = TrainConfig.from_json(done.config["settings"])
    assert (kept.method, kept.rank, kept.alpha, kept.targets) == ("rslora", 2, 6.0, ("q_proj", "v_proj"))


@pytest.mark.parametrize("method", ["ia3", "prompt", "top-layers"])
def test_only_low_rank_adapters_go_on(db: Database, home: Paths, method: str) -> None:
    freeze(db, name="one")
    first, _ = trained(db, home, "one", steps=1, method=method, layers=1)
    with pytest.raises(TrainingRefused, match="only low-rank adapters can"):
        trained(db, home, "one", first.name)
    promote.promote(db, home, first.name, anyway=True)
    assert lineage.to_go_on_from(db, home, TINY) == ""


def test_dora_goes_on(db: Database, home: Paths) -> None:
    freeze(db, name="one")
    first, told = trained(db, home, "one", method="dora", steps=6)
    second, after = trained(db, home, "one", first.name, steps=6)
    assert TrainConfig.from_json(second.config["settings"]).method == "dora"
    assert losses(after)[0] < losses(told)[0]


def test_an_unfinished_damaged_or_foreign_start_is_refused(db: Database, home: Paths) -> None:
    stopped = stopped_run(db, home)
    with pytest.raises(TrainingRefused, match="has no adapter: it is stopped"):
        trained(db, home, "two", stopped.name)
    found = registry.find(db, "one-1")
    assert found is not None
    registry.add(db, found.hash, found.name, found.run_id, found.model, "f" * 64, found.lineage)
    with pytest.raises(TrainingRefused, match="was made for other weights of tiny"):
        trained(db, home, "two", "one-1")
    registry.add(db, found.hash, found.name, found.run_id, "another", found.base_hash, found.lineage)
    with pytest.raises(TrainingRefused, match="is an adapter of another"):
        trained(db, home, "two", "one-1")
    registry.add(db, found.hash, found.name, found.run_id, found.model, found.base_hash, found.lineage)
    weights = home.adapters / "one-1" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(TrainingRefused, match=r"can't be trained further.*damaged"):
        trained(db, home, "two", "one-1")


@pytest.mark.parametrize("kind", ["preference", "kto", "label"])
def test_comparisons_go_on_without_replay(db: Database, home: Paths, kind: Kind) -> None:
    freeze(db, name="one")
    freeze(db, kind, name="two")
    first, _ = trained(db, home, "one")
    done, told = trained(db, home, "two", first.name)
    assert done.state == "finished" and planned(told).replayed == 0
    if kind != "label":  # measured from the adapter that it goes on from
        assert losses(told)[0] == pytest.approx({"preference": 0.693, "kto": 0.5}[kind], abs=0.02)


def test_the_proof_asks_what_was_learned_before(db: Database, home: Paths) -> None:
    freeze(db, count=80, name="one")
    freeze(db, "preference", count=80, name="two")
    freeze(db, "label", count=80, name="three")
    first, _ = trained(db, home, "one", steps=10)
    second, _ = trained(db, home, "two", first.name, steps=2)
    third, _ = trained(db, home, "three", second.name, steps=2)
    report = prove.evaluate(db, home, third.name)
    asked = {one["name"]: one for one in report["earlier"]["measures"]}
    assert asked.keys() == {"one", "two"} and report["earlier"]["start"] == second.name
    assert asked["one"]["since"] == second.name
    assert asked["one"]["against_base"] < 0
    direct = {one["key"]: one for one in prove.evaluate(db, home, first.name)["measures"]}["perplexity"]
    assert asked["one"]["base"] == pytest.approx(direct["base"], rel=1e-4)


def test_what_was_learned_before_proves_nothing(db: Database, home: Paths) -> None:
    made = freeze(db, count=80, name="one")
    first, _ = trained(db, home, "one", steps=1)
    learned = list(datasets.examples(db, made.id, "train"))
    fresh = list(datasets.examples(db, made.id, "test"))
    for name, tested in (("known", learned), ("mixed", [*learned[:6], *fresh])):
        rows = [replace(one, split="train", hash=f"{name} {one.hash}") for one in learned]
        rows += [replace(one, split="test") for one in tested]
        datasets.add(db, name, "supervised", name, {}, {}, rows)
    with pytest.raises(TrainingRefused, match="All of the test part of known was learned before"):
        prove.evaluate(db, home, trained(db, home, "known", first.name, steps=1)[0].name)
    report = prove.evaluate(db, home, trained(db, home, "mixed", first.name, steps=1)[0].name)
    assert report["test"]["examples"] == len(fresh)


def earlier(difference: float, *, lower: bool = True, trouble: str = "") -> dict[str, Any]:
    """A report that is good but for what was learned before."""
    main = {"key": "perplexity", "name": "perplexity", "main": True, "verdict": "better", "difference": -0.4}
    general = {**main, "key": "forgetting", "main": False, "difference": 0.0}
    one = {"key": "earlier", "name": "mine", "difference": difference, "lower_is_better": lower, "since": "mine-1"}
    return {
        "measures": [main, general],
        "memorised": {"leaked": [], "probes": 0},
        "earlier": {"start": "mine-1", "measures": [one], "deleted": [], "trouble": trouble},
    }


@pytest.mark.parametrize(
    ("report", "limit", "said"),
    [
        (earlier(0.004), 0.01, ""),
        (earlier(-0.2), 0.01, ""),
        (earlier(0.031), 0.01, "the test of mine got worse by 3.1% since mine-1, more than 1.0%"),
        (earlier(0.031), 0.05, ""),
        (earlier(-0.08, lower=False), 0.01, "got worse by 8.0%"),
        (earlier(0.5, lower=False), 0.01, ""),
        (earlier(0.0, trouble="It is gone."), 0.01, "can't be measured for comparison: It is gone."),
    ],
)
def test_promotion_refuses_what_loses_more_than_the_limit(report: dict[str, Any], limit: float, said: str) -> None:
    found = verdicts(report, limit)
    assert [said in one for one in found] == ([True] if said else [])
    assert len(verdicts(report, limit, CHINESE)) == len(found)


def test_the_report_shows_it(db: Database, home: Paths) -> None:
    freeze(db, count=80, name="one")
    freeze(db, "label", count=80, name="two")
    first, _ = trained(db, home, "one", steps=4)
    second, _ = trained(db, home, "two", first.name, steps=1)
    report = prove.evaluate(db, home, second.name)
    assert "one, learned before" in tables.markdown(report) and f"since {first.name}" in tables.markdown(report)
    html = html_page.page(html_page.subject(db, second.name), ENGLISH)
    assert "one, learned before" in html and f"<dd>{first.name}</dd>" in html
    shutil.rmtree(home.adapters / first.name)
    again = prove.evaluate(db, home, second.name)
    assert any("can't be measured for comparison" in one for one in again["reasons"])
    datasets.delete(db, "one")
    gone = prove.evaluate(db, home, second.name)
    assert gone["earlier"]["deleted"] == ["one"] and "Deleted, so it can't be measured: one." in tables.markdown(gone)


def test_the_command(db: Database, home: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    freeze(db, count=24, name="one")
    small = ["--rank", "4", "--precision", "float32", "--tokens-per-step", "512", "-m", TINY]
    assert run_command(["train", "--data", "one", "--from", "in-use", "--steps", "1", *small], top) == 0
    promote.promote(db, home, "one-1", anyway=True)
    freeze(db, count=64, name="two")
    capsys.readouterr()
    assert run_command(["train", "--data", "two", "--from", "in-use", "--steps", "1", *small], top) == 0
    assert "Starts from one-1, replaying" in capsys.readouterr().out
    wrong = ["--rank", "16", "-m", TINY]
    assert run_command(["train", "--data", "two", "--from", "one-1", *wrong], top) == 1
    assert "has rank 4, which further training can't change to 16" in capsys.readouterr().err
    assert run_command(["train", "--data", "two", "--from", "one-1", "--plan", "--json", "-m", TINY], top) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert next(one for one in events if one["event"] == "planned")["start"] == "one-1"
