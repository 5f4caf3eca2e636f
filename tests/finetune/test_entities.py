"""Entities: classes of tokens that give the spans again, the loss of transformers, and the whole round by commands."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from sqlite_utils import Database
from torch.nn.functional import cross_entropy

from assistant.engine.generate.chat_format import ChatFormat
from assistant.engine.models import catalogue
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.database import open_database
from assistant.store.training import datasets
from assistant.store.training.datasets import StoredExample
from assistant.tasks.rows import InputUnreadable
from finetune import tagging
from finetune.base import Base
from finetune.cli.group import top
from finetune.config import METHODS, TrainConfig
from finetune.data import pack
from finetune.data.example import Entity, Example
from finetune.data.lessons import lessons
from finetune.data.tokens import Tokenizer
from finetune.network import trainable
from finetune.network.batch import batch
from finetune.network.losses import objective as loss_over
from finetune.network.trainee import Trainee
from finetune.prove import promote
from finetune.train import run
from prompts.message import Message
from tests.assistant.engine import tiny
from tests.finetune.conftest import TINY
from tests.finetune.train.test_train import losses, stopped_after, trained

CPU = torch.device("cpu")
TYPES = ("person", "place")
NAMES, PLACES = ["Mira Holt", "Jonas", "Lea Wirth", "王小明"], ["Graz", "Oslo", "北京"]
TEXTS = ["{} flew to {}.", "In {1} we met {0}!", "{}在{}工作。", "The dog sleeps.", "«{}» ({})"]


def marked(number: int) -> tuple[str, tuple[Entity, ...]]:
    """A text and where its names stand."""
    name, place = NAMES[number % 4], PLACES[number % 3]
    form = TEXTS[number % 5]
    text = form.format(name, place)
    found = [(text.index(one), kind, one) for one, kind in ((name, "person"), (place, "place")) if one in text]
    return text, tuple((at, at + len(one), kind) for at, kind, one in sorted(found))


def example(number: int) -> Example:
    text, entities = marked(number)
    return Example((Message("user", text),), frozenset(), choices=tuple((one,) for one in TYPES), entities=entities)


def freeze(db: Database, count: int = 60) -> datasets.Dataset:
    parts = ("train",) * 8 + ("validation", "test")
    made = [example(number) for number in range(count)]
    rows = [StoredExample(parts[at % 10], at, None, one.hash, one.as_json()) for at, one in enumerate(made)]
    return datasets.add(db, "data", "entities", "hash", {}, {}, rows)


def tokenizer(limit: int = 250) -> Tokenizer:
    return Tokenizer.of(ChatFormat(tiny.tokenizer()), limit, None)


@pytest.mark.parametrize("number", range(60))
def test_the_right_classes_give_the_entities_again(number: int) -> None:
    """Tokens of a part of a character, as all Chinese is to this tokenizer, and of a space with a word."""
    one, words = example(number), tokenizer()
    assert Example.from_json(one.as_json()) == one
    (row,) = tagging.rows(one, words)
    tags = [tag for tag, learned in zip(row.tags, row.learned, strict=True) if learned]
    text = one.messages[0].content
    assert tagging.spans(tags, row, text, words, TYPES) == list(one.entities)
    said = [token for token, learned in zip(row.ids, row.learned, strict=True) if learned]
    assert words.format._tokenizer.decode(said) == text


def test_classes_that_make_no_sense_still_make_entities() -> None:
    words = tokenizer()
    (row,) = tagging.rows(tagging.untagged("the dog", TYPES), words)
    count = sum(row.learned)
    assert tagging.spans([4] * count, row, "the dog", words, TYPES) == [(0, 7, "place")]
    assert tagging.spans([2] + [4] * (count - 1), row, "the dog", words, TYPES)[0][2] == "person"
    assert tagging.spans([0] * count, row, "the dog", words, TYPES) == []


def test_what_does_not_fit_is_left_out_and_counted() -> None:
    words = tokenizer(40)
    assert tagging.rows(tagging.untagged("dog " * 30, TYPES), words) == []
    assert words.cuts.too_long == 1


def test_the_loss_is_that_of_transformers(tiny_folder: Path) -> None:
    """Packed, against cross-entropy of the head over transformers' own states, row by row."""
    torch.manual_seed(0)
    base = Base.open(tiny_folder)
    model = trainable.prepare(base.load(torch.float32, CPU), TrainConfig(rank=4), 10, TINY, TYPES)
    with torch.no_grad():
        for one in trainable.trained(model).values():
            one.normal_(std=0.05)
    learned = lessons("entities", [example(number) for number in range(12)], base.tokenizer_of_rows(), 0)
    blocks = list(pack.pack(learned.items, 512, "0"))
    together = batch(blocks)
    objective = loss_over(learned, [], TrainConfig())
    ours = objective.loss(together, Trainee(model)(together)) / sum(map(objective.count, blocks))
    theirs, count = torch.zeros(()), 0
    for (row,) in learned.items:
        logits = model(torch.from_numpy(row.ids)[None].long()).logits[0]
        classes = torch.tensor([int(tag) if on else -100 for tag, on in zip(row.tags, row.learned, strict=True)])
        theirs = theirs + cross_entropy(logits, classes, reduction="sum")
        count += int((classes >= 0).sum())
    torch.testing.assert_close(ours, theirs / count, rtol=1e-4, atol=1e-5)
    ours.backward()
    gradients = {name: one.grad for name, one in trainable.trained(model).items()}
    head = next(one for name, one in gradients.items() if "lm_head" in name and one is not None)
    assert head.shape == (5, 32) and head.abs().sum() > 0
    assert any(one is not None and one.abs().sum() > 0 for name, one in gradients.items() if "lora_A" in name)


def test_a_stopped_run_goes_on_bit_for_bit(db: Database, home: Paths) -> None:
    freeze(db)
    whole, told = trained(db, home, steps=6, dropout=0.1)
    part, first = stopped_after(2, db, home, steps=6, dropout=0.1)
    rest: list[Any] = []
    done = run.resume(db, home, part.name, rest.append)
    assert losses(first) + losses(rest) == losses(told)
    assert done.adapter_hash == whole.adapter_hash


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"qlora"}))
def test_methods_train_a_head_or_are_refused(db: Database, home: Paths, method: str) -> None:
    freeze(db, 20)
    if method not in trainable.BESIDE_HEAD:
        with pytest.raises(TrainingRefused, match="entity head can be trained with lora"):
            trained(db, home, steps=1, method=method)
        return
    done, told = trained(db, home, steps=8, method=method, learning_rate=2e-2)
    assert losses(told)[-1] < losses(told)[0]
    assert tagging.types_in(home.adapters / done.name) == TYPES


def by_command(*words: str) -> dict[str, Any]:
    told = CliRunner().invoke(top, [*words, "--json"])
    assert told.exit_code == 0, told.output
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


def written(path: Path, count: int) -> Path:
    rows = []
    for number in range(count):
        text, entities = marked(number)
        truth = [{"text": text[start:end], "type": kind} for start, end, kind in entities]
        rows.append(json.dumps({"input": f"{number}: {text}", "reference": {"entities": truth}}))
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.matrix
def test_the_default_model_learns_to_find_them(real_home: Paths, tmp_path: Path) -> None:
    """The whole round by commands: better than nothing where it was not trained, and no reply is made with it."""
    model = ["-m", catalogue.DEFAULT]
    by_command("data", "--file", str(written(tmp_path / "a.jsonl", 60)), "--kind", "entities", "-n", "names", *model)
    by_command("train", "--data", "names", "--steps", "24", "--tokens-per-step", "1024", *model)
    report = by_command("eval", "names-1")
    (measure,) = report["measures"]
    assert measure["main"] and measure["adapted"] > measure["base"] + 0.3
    assert set(report["entities"]["per_class"]) <= set(TYPES)
    out = tmp_path / "found.jsonl"
    source = tmp_path / "given.jsonl"
    source.write_text('{"input": "Lea Wirth flew to Oslo.", "n": 1}\n{"n": 2}\n', encoding="utf-8")
    assert by_command("tag", "names-1", "-i", str(source), "-o", str(out))["failed"] == 1
    found, failed = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert found["n"] == 1 and "error" in failed and failed["prediction"] is None
    for one in found["prediction"]["entities"]:
        assert found["input"][one["start"] : one["end"]] == one["text"] and one["type"] in TYPES
    db = open_database(real_home.database)
    with pytest.raises(TrainingRefused, match="finetune tag names-1"):
        promote.promote(db, real_home, "names-1", anyway=True)
    db.close()
    for words in (["export", "names-1", "--format", "peft", "--out", str(tmp_path / "x")], ["promote", "names-1"]):
        told = CliRunner().invoke(top, words)
        assert told.exit_code and "finetune tag names-1" in str(told.exception)


BAD = {
    '{"input": "the dog"}': "row 1: no 'reference'",
    '{"reference": {"entities": []}}': "row 1: no 'input'",
    '{"input": "the dog", "reference": {"entities": [{"text": "cat", "type": "pet"}]}}': "'cat' isn't in the text",
    '{"input": "the dog", "reference": {"entities": []}}': "no row has an entity",
    '{"input": "abc", "reference": [{"text": "ab", "type": "x"}, {"text": "bc", "type": "y"}]}': "'ab' and 'bc'",
}


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(("line", "sentence"), BAD.items())
def test_bad_files_are_one_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(line, encoding="utf-8")
    told = CliRunner().invoke(top, ["data", "--file", str(file), "--kind", "entities", "-m", TINY])
    assert isinstance(told.exception, InputUnreadable) and sentence in str(told.exception)


def test_a_run_that_learned_something_else_finds_none(db: Database, home: Paths, tmp_path: Path) -> None:
    from tests.finetune import conftest

    conftest.freeze(db, count=16)
    done, _ = trained(db, home, steps=1)
    source = tmp_path / "given.txt"
    source.write_text("the dog", encoding="utf-8")
    told = CliRunner().invoke(top, ["tag", done.name, "-i", str(source)])
    assert isinstance(told.exception, TrainingRefused) and "did not learn to tag entities" in str(told.exception)
    nothing = CliRunner().invoke(top, ["data", "--kind", "entities", "-m", TINY])
    assert isinstance(nothing.exception, TrainingRefused) and "Give a --file" in str(nothing.exception)
