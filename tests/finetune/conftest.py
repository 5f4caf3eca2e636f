"""A tiny random model among the installed ones, and examples to train it on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.store.database import open_database
from assistant.store.training import datasets
from assistant.store.training.datasets import StoredExample
from finetune.data.example import Example, Kind
from prompts.message import Message
from tests.assistant.engine import tiny

TINY = "tiny"
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "the", "dog", "sleeps"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def db(home: Paths, tiny_folder: Path) -> Iterator[Database]:
    """The log of a home that has the tiny model, by the name `tiny`."""
    catalogue.add_path(home, TINY, tiny_folder)
    database = open_database(home.database)
    yield database
    database.close()


def said(number: int) -> Example:
    """A conversation of two exchanges, both learned."""
    asked, answered, more, end = (" ".join(WORDS[(number + shift) % 9 :][:4]) for shift in (0, 2, 4, 5))
    turns = (Message("user", asked), Message("assistant", answered), Message("user", more), Message("assistant", end))
    return Example(turns, frozenset({1, 3}))


def examples(kind: Kind, count: int) -> list[Example]:
    """So many examples of a kind."""
    made = []
    for number in range(count):
        one = said(number)
        prompt, reply = one.messages[:2]
        match kind:
            case "supervised":
                made.append(one)
            case "preference":
                made.append(Example((prompt, reply), frozenset({1}), rejected="no"))
            case "kto":
                made.append(Example((prompt, reply), frozenset({1}), good=number % 3 > 0))
            case "label":
                right, wrong = (("dog",), ("fox", "the fox"))[:: 1 if number % 2 else -1]
                made.append(Example((prompt, Message("assistant", right[0])), frozenset({1}), choices=(right, wrong)))
    return made


def freeze(db: Database, kind: Kind = "supervised", count: int = 24, name: str = "data") -> datasets.Dataset:
    """A dataset of three quarters to train on, the rest to look at and to test."""
    parts = ("train",) * 6 + ("validation", "test")
    rows = [
        StoredExample(parts[number % 8], number, None, one.hash, one.as_json())
        for number, one in enumerate(examples(kind, count))
    ]
    return datasets.add(db, name, kind, "hash", {}, {}, rows)
