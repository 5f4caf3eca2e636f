"""What is told before a reply is deleted that something learned from."""

from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from assistant.store import deletion, messages
from assistant.store.database import open_memory
from assistant.store.training import adapters, datasets, learned, runs
from assistant.store.training.datasets import StoredExample
from tests.assistant.store.judgements.test_curation import ask


@pytest.fixture
def db() -> Iterator[Database]:
    db = open_memory()
    yield db
    db.close()


def test_datasets_runs_and_adapters_are_named(db: Database) -> None:
    _, good, bad = ask(db, "q", "good", "bad")
    _, other = ask(db, "q2", "a2")
    rows = [StoredExample("train", 0, good, "h", "{}", rejected_id=bad)]
    dataset = datasets.add(db, "mine", "preference", "abc", {}, {}, rows)
    assert learned.from_messages(db, [bad]).sentence().endswith("no adapter has learned from it.")
    run = runs.add(db, "mine", dataset.id, dataset.hash, "m", "base", {})
    adapters.add(db, "f" * 64, "warm", run.id, "m", "base", {})
    conversation = messages.get(db, good).conversation_id
    for found in (learned.from_conversations(db, [conversation]), learned.from_messages(db, [good, bad])):
        assert (found.examples, found.datasets, found.runs, found.adapters) == (1, ["mine"], [run.name], ["warm"])
        assert "the adapter warm learned from it" in found.sentence()
    assert not learned.from_messages(db, [other])
    deletion.delete_message(db, bad)
    assert list(datasets.examples(db, dataset.id)) == []
