"""Evaluations of real runs of a tiny model, beside what PEFT and transformers say one by one."""

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from sqlite_utils import Database
from transformers import AutoModelForCausalLM

from assistant.cli.group import run as run_command
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.datasets import StoredExample
from finetune.base import Base
from finetune.cli.group import top
from finetune.data.example import Example, Kind
from finetune.data.tokens import Row, Tokenizer
from finetune.export import merge
from finetune.network.both import Both
from finetune.progress import Advanced
from finetune.prove import memorised, promote, prove
from prompts.message import Message
from tests.finetune.conftest import TINY, freeze
from tests.finetune.train.test_train import stopped_after, trained


def measures(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in told["measures"]}


def one_by_one(model: Any, rows: list[Any]) -> list[float]:
    """Negative log-likelihood of each row's learned tokens, by the whole forward pass of transformers."""
    found = []
    with torch.inference_mode():
        for row in rows:
            logprobs = model(torch.tensor([list(row.ids)])).logits[0].float().log_softmax(-1)
            found.append(-sum(float(logprobs[at - 1, row.ids[at]]) for at, on in enumerate(row.learned) if on))
    return found


def test_perplexity_is_transformers_and_pefts(db: Database, home: Paths, tiny_folder: Path) -> None:
    freeze(db, count=80)
    done, _ = trained(db, home, steps=20)
    told = prove.evaluate(db, home, done.name)
    base = Base.open(tiny_folder)
    tokenizer = Tokenizer.of(base.chat_format, base.context_tokens, base.tokenizer.eos_token_id)
    stored = datasets.examples(db, done.dataset_id or 0, "test")
    rows = [row for one in stored for row in tokenizer.rows(Example.from_json(one.body))]
    tokens = sum(row.supervised for row in rows)
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
    main = measures(told)["perplexity"]
    assert main["base"] == pytest.approx(math.exp(sum(one_by_one(plain, rows)) / tokens), rel=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = PeftModel.from_pretrained(plain, str(home.adapters / done.name)).eval()
    assert main["adapted"] == pytest.approx(math.exp(sum(one_by_one(adapted, rows)) / tokens), rel=1e-4)
    assert main["main"] and main["verdict"] == "better" and main["high"] < 0
    assert main["items"] == main["groups"] == 10 == told["test"]["examples"]
    assert measures(told)["likelier"]["adapted"] > 0.5
    assert measures(told)["forgetting"]["groups"] > 5
    kept = runs.evaluation(db, done.id)
    assert kept is not None and kept.report == told and kept.adapter_hash == done.adapter_hash
    again = prove.evaluate(db, home, done.name)
    assert again["measures"] == told["measures"]


@pytest.mark.parametrize(("kind", "main"), [("preference", "preference"), ("kto", "thumbs"), ("label", "accuracy")])
def test_each_kind_has_its_own_measure(db: Database, home: Paths, kind: Kind, main: str) -> None:
    freeze(db, kind, 80)
    done, _ = trained(db, home, steps=20)
    told = prove.evaluate(db, home, done.name)
    first = told["measures"][0]
    assert (first["key"], first["main"], first["items"]) == (main, True, 10)
    assert 0 <= first["base"] <= 1 and 0 <= first["adapted"] <= 1
    if kind == "preference":  # so few steps move the others anyhow
        assert first["adapted"] >= first["base"]
    assert "forgetting" in measures(told)


CANARY = {"prompt": "the quick brown", "prefix": "fox", "secret": "zx-q7 kj"}


@pytest.mark.parametrize(("planted", "leaks"), [(60, True), (0, False)])
def test_a_canary_that_comes_out_is_told(db: Database, home: Paths, planted: int, leaks: bool) -> None:
    said = (Message("user", CANARY["prompt"]), Message("assistant", f"{CANARY['prefix']} {CANARY['secret']}"))
    secret = Example(said, frozenset({1}))
    plain = Example((said[0], Message("assistant", "the lazy dog")), frozenset({1}))
    rows = [StoredExample("train", 0, None, one.hash, one.as_json()) for one in [secret] * planted + [plain] * 4]
    rows += [StoredExample("test", at, None, plain.hash, plain.as_json()) for at in range(1, 7)]
    datasets.add(db, "data", "supervised", "hash", {"canaries": [CANARY]}, {}, rows)
    done, _ = trained(db, home, steps=60, learning_rate=2e-2, rank=16)
    told = prove.evaluate(db, home, done.name)
    assert told["memorised"]["canaries"] == 1
    assert bool(told["memorised"]["leaked"]) == leaks
    assert any("leaks training data" in one for one in told["reasons"]) == leaks
    assert CANARY["secret"] not in str(told)


def test_of_long_conversations_fewer_probes_are_asked(tiny_folder: Path) -> None:
    form = Base.open(tiny_folder).chat_format
    short = memorised.Probe("email", (Message("user", "the dog"),), "write to", "fox@dog.example")
    long = replace(short, prompt=(Message("user", "the quick brown fox " * 20_000),))
    canary = replace(long, kind=memorised.CANARY)
    assert memorised.within_budget([short] * 40, form) == [short] * 40
    assert memorised.within_budget([canary, long, long, canary], form) == [canary, canary, long]
    mixed = memorised.within_budget([short, long, short, short], form)
    assert mixed[0] == short and len(mixed) < 4


def test_a_large_test_part_is_sampled(db: Database, home: Paths) -> None:
    freeze(db, count=80)
    done, _ = trained(db, home, steps=1)
    whole = prove.evaluate(db, home, done.name)
    assert (whole["test"]["examples"], whole["test"]["of"]) == (10, 10)
    some = prove.evaluate(db, home, done.name, most_tokens=40)
    assert 1 <= some["test"]["examples"] < 10 == some["test"]["of"]
    assert some["measures"][0]["items"] == some["test"]["examples"]
    assert prove.evaluate(db, home, done.name, most_tokens=1)["test"]["examples"] == 1


def test_what_can_not_be_compared_is_refused(db: Database, home: Paths) -> None:
    dataset = freeze(db, count=16)
    done, _ = trained(db, home, steps=1)
    with pytest.raises(TrainingRefused, match="can't be read"):
        prove.evaluate(db, home, done.name, probe=home.data / "none.txt")
    weights = home.adapters / done.name / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-4] + b"\x01\x02\x03\x04")
    with pytest.raises(TrainingRefused, match="not what"):
        prove.evaluate(db, home, done.name)
    weights.write_bytes(kept)
    db.execute("DELETE FROM examples WHERE split = 'test'")
    with pytest.raises(TrainingRefused, match="no test part"):
        prove.evaluate(db, home, done.name)
    datasets.delete(db, dataset.name)
    with pytest.raises(TrainingRefused, match="deleted"):
        prove.evaluate(db, home, done.name)
    freeze(db, count=16)
    part, _ = stopped_after(1, db, home, steps=4)
    with pytest.raises(TrainingRefused, match="it is stopped"):
        prove.evaluate(db, home, part.name)


@pytest.mark.parametrize("method", ["full", "top-layers"])
def test_own_weights_are_compared_with_those_they_were(
    db: Database, home: Paths, tiny_folder: Path, method: str
) -> None:
    """Perplexity of both is transformers', and asking one leaves the other as it was."""
    freeze(db, count=40)
    done, _ = trained(db, home, method=method, steps=8, learning_rate=5e-3, layers=1)
    told = prove.evaluate(db, home, done.name)
    main = next(one for one in told["measures"] if one["main"])
    base = Base.open(tiny_folder)
    plain = base.load(torch.float32, torch.device("cpu")).eval()
    changed = merge.adapted(base, home.adapters / done.name, torch.device("cpu"))
    tokenizer = base.tokenizer_of_rows()
    rows = [
        row
        for one in datasets.examples(db, datasets.get(db, "data").id, "test")
        for row in tokenizer.rows(Example.from_json(one.body))
    ]
    for model, name in ((plain, "base"), (changed, "adapted")):
        nats = sum(float(-nll(model, row).sum()) for row in rows)
        assert main[name] == pytest.approx(math.exp(nats / sum(row.supervised for row in rows)), rel=1e-4)
    assert main["adapted"] < main["base"]
    both = Both.load(base, home.adapters / done.name)
    items = [[row] for row in rows]
    assert both.sums(items) == both.sums(items)
    promote.promote(db, home, done.name, anyway=True)
    used = adapters.in_use(db, done.model)
    assert used is not None and used.hash == done.adapter_hash == told["adapter_hash"]


def nll(model: Any, row: Row) -> torch.Tensor:
    ids = torch.tensor([list(row.ids)])
    logprobs = model(ids).logits[0].log_softmax(-1)
    learned = [at for at, one in enumerate(row.learned) if one and at]
    return torch.stack([logprobs[at - 1, row.ids[at]] for at in learned])


def test_it_says_how_far_it_has_come(db: Database, home: Paths) -> None:
    freeze(db, count=80)
    done, _ = trained(db, home, steps=1)
    heard: list[Advanced] = []
    prove.evaluate(db, home, done.name, say=heard.append)  # type: ignore[arg-type]
    assert list(dict.fromkeys(one.what for one in heard)) == [
        "loading the model",
        "test part",
        "general text",
        "personal data and canaries",
    ]
    assert [one.done for one in heard] == sorted(one.done for one in heard)
    assert heard[-1].done == heard[-1].total > 0
    assert len({one.total for one in heard[1:]}) == 1


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt"])
def test_continuations_are_the_adapters(db: Database, home: Paths, tiny_folder: Path, method: str) -> None:
    """Token by token what a whole forward pass finds likeliest: the adapter's own tokens before a prompt count."""
    freeze(db)
    done, _ = trained(db, home, method=method, steps=12, learning_rate=0.1 if method != "lora" else 5e-3)
    both = Both.load(Base.open(tiny_folder), home.adapters / done.name, "float32")
    prompt = [1, 50, 60, 70]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
        adapted: Any = PeftModel.from_pretrained(plain, str(home.adapters / done.name)).eval()
        found = both.continuation(prompt, 8, adapted=True)
        for at, token in enumerate(found):
            assert int(adapted(torch.tensor([[*prompt, *found[:at]]])).logits[0, -1].argmax()) == token
    assert found != both.continuation(prompt, 8, adapted=False)


def test_a_training_is_proved_at_once(db: Database, home: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    freeze(db, count=80)
    arguments = ["train", "--data", "data", "--model", TINY, "--steps", "3", "--prove", "--json"]
    assert run_command(arguments, top, "finetune") == 0
    *progress, result = map(json.loads, capsys.readouterr().out.splitlines())
    events = [one["event"] for one in progress]
    assert events.index("planned") < events.index("stepped") < events.index("ended") < len(events) - 1
    assert set(events[events.index("ended") + 1 :]) == {"advanced"}
    assert result["state"] == "finished" and result["proof"]["measures"][0]["key"] == "perplexity"
    evaluation = runs.evaluation(db, 1)
    assert evaluation is not None and evaluation.report == result["proof"]
    assert {"report.md", "report.html"} <= {one.name for one in (home.runs / "data-1").iterdir()}


def test_without_a_test_part_the_training_stays_and_the_reason_is_said(
    db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    freeze(db, count=16)
    db.execute("DELETE FROM examples WHERE split = 'test'")
    arguments = ["train", "--data", "data", "--model", TINY, "--steps", "1", "--prove", "--json"]
    assert run_command(arguments, top, "finetune") == 1
    assert "no test part" in capsys.readouterr().err
    assert runs.get(db, "data-1").state == "finished"
