"""Datasets, runs and adapters in the log."""

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, deletion, messages
from assistant.store.database import open_memory
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.datasets import StoredExample


@pytest.fixture
def db() -> Database:
    return open_memory()


def frozen(db: Database, message_id: int | None = None) -> datasets.Dataset:
    rows = [StoredExample("train", 0, message_id, "h1", "{}"), StoredExample("test", 1, None, "h2", "{}")]
    return datasets.add(db, "mine", "supervised", "abc", {"filter": {}}, {"examples": 2}, rows)


def test_a_dataset_is_kept_as_it_was(db: Database) -> None:
    dataset = frozen(db)
    assert datasets.get(db, "mine") == dataset
    assert [one.hash for one in datasets.examples(db, dataset.id)] == ["h1", "h2"]
    assert [one.hash for one in datasets.examples(db, dataset.id, "test")] == ["h2"]
    with pytest.raises(StoreError, match="already"):
        frozen(db)
    with pytest.raises(StoreError, match="There are: mine"):
        datasets.get(db, "other")


def test_what_is_deleted_leaves_the_dataset(db: Database) -> None:
    conversation_id = conversations.create(db, model="m", template="plain").id
    dataset = frozen(db, messages.add_user(db, conversation_id, None, "hello"))
    deletion.erase(db, conversation_id)
    assert [one.hash for one in datasets.examples(db, dataset.id)] == ["h2"]


def test_runs_are_numbered_and_a_point_done_again_is_one_point(db: Database) -> None:
    dataset = frozen(db)
    first, second = (runs.add(db, "mine", dataset.id, dataset.hash, "m", "b", {"rank": 2}) for _ in range(2))
    assert (first.name, second.name, first.config) == ("mine-1", "mine-2", {"rank": 2})
    runs.add_point(db, first.id, 1, {"loss": 2.0})
    runs.add_point(db, first.id, 1, {"validation_loss": 3.0})
    runs.add_point(db, first.id, 1, {"loss": 1.0})
    assert runs.points(db, first.id) == [(1, {"loss": 1.0, "validation_loss": 3.0})]
    runs.set_state(db, first.id, "finished")
    runs.set_result(db, first.id, {"best": 1.0}, "hash")
    assert (runs.get(db, "mine-1").state, runs.get(db, "mine-1").adapter_hash) == ("finished", "hash")
    datasets.delete(db, "mine")
    assert runs.get(db, "mine-1").dataset_id is None
    runs.delete(db, "mine-1")
    assert [one.name for one in runs.every(db)] == ["mine-2"]


def test_promotions_are_taken_back_one_by_one(db: Database) -> None:
    for name in ("one", "two", "three"):
        adapters.add(db, f"hash of {name}", name, None, "m", "b", {})
    in_use = lambda: getattr(adapters.in_use(db, "m"), "name", None)  # noqa: E731
    with pytest.raises(StoreError, match="nothing to take back"):
        adapters.roll_back(db, "m")
    adapters.promote(db, "hash of one")
    adapters.promote(db, "hash of two", anyway=True, reasons="a tie")
    assert in_use() == "two"
    adapters.roll_back(db, "m")
    assert in_use() == "one"
    adapters.promote(db, "hash of three")
    adapters.roll_back(db, "m")
    assert in_use() == "one"
    adapters.roll_back(db, "m")
    assert in_use() is None
    assert [one.action for one in adapters.history(db, "m")].count("rollback") == 3
