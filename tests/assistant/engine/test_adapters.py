"""Adapters that are kept for one model: read once, dropped when they take too much, refused where memory is short."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from assistant.adapters.folder import CONFIG, WEIGHTS, AdapterFolder
from assistant.engine.hardware import placement
from assistant.engine.networks import adapters
from assistant.engine.networks.adapters import Adapters
from assistant.errors import AdapterError

CPU = torch.device("cpu")


@dataclass
class Read:
    """What was made of a folder."""

    hash: str
    dropped: bool = False

    def drop(self) -> None:
        self.dropped = True


def saved(folder: Path, value: float) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"prompt_embeddings": torch.full((2, 8), float(value))}, folder / WEIGHTS)
    table = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "task_type": "CAUSAL_LM"}
    (folder / CONFIG).write_text(json.dumps(table))
    return folder


def test_each_is_read_once_and_the_oldest_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "HELD_BYTES", 200)
    read: list[Read] = []

    def new(source: AdapterFolder) -> Read:
        read.append(Read(source.hash))
        return read[-1]

    held = Adapters[Read](CPU, lambda _: 100, new)
    folders = [saved(tmp_path / str(number), number) for number in range(3)]
    one, two = held.use(folders[0]), held.use(folders[1])
    assert held.use(folders[0]) is one and len(read) == 2
    three = held.use(folders[2])
    assert [one.dropped, two.dropped, three.dropped] == [False, True, False], "the least recently used one"
    again = held.get(two.hash)
    assert again is not two and again.hash == two.hash and one.dropped
    large = Adapters[Read](CPU, lambda _: 1000, new)
    assert not large.use(folders[0]).dropped, "the last one used stays, however large"


def test_one_that_was_trained_again_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Adapters[Read](CPU, lambda _: 100, lambda source: Read(source.hash))
    first = held.use(saved(tmp_path / "a", 1))
    second = held.use(saved(tmp_path / "a", 2))
    assert first.hash != second.hash
    assert held.get(first.hash) is first
    monkeypatch.setattr(adapters, "HELD_BYTES", 1)
    held.use(saved(tmp_path / "b", 3))
    with pytest.raises(AdapterError, match="was changed while a reply was made with it"):
        held.get(first.hash)
    assert held.get(second.hash).hash == second.hash


def test_one_that_changes_while_it_is_read(tmp_path: Path) -> None:
    def slow(source: AdapterFolder) -> Read:
        saved(source.path, 9)
        return Read(source.hash)

    with pytest.raises(AdapterError, match="was changed while it was read"):
        Adapters[Read](CPU, lambda _: 100, slow).use(saved(tmp_path / "a", 1))


def test_one_that_is_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "free_bytes", lambda _: 2_000_000_000)
    held = Adapters[Read](CPU, lambda _: 5_400_000_000, lambda source: Read(source.hash))
    with pytest.raises(AdapterError, match=r"takes 5.4 GB of memory, and 2.0 GB are free on cpu. Close other programs"):
        held.use(saved(tmp_path / "a", 1))


def test_what_a_reply_is_made_with_is_not_the_least_recently_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "HELD_BYTES", 200)
    held = Adapters[Read](CPU, lambda _: 100, lambda source: Read(source.hash))
    one, two = (held.use(saved(tmp_path / str(number), number)) for number in range(2))
    assert held.get(one.hash) is one
    held.use(saved(tmp_path / "2", 2))
    assert (one.dropped, two.dropped) == (False, True)


def test_others_are_dropped_where_there_is_no_memory_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Read] = []

    def new(source: AdapterFolder) -> Read:
        read.append(Read(source.hash))
        return read[-1]

    monkeypatch.setattr(placement, "free_bytes", lambda _: 250 - 100 * sum(not one.dropped for one in read))
    held = Adapters[Read](CPU, lambda _: 100, new)
    for number in range(3):
        held.use(saved(tmp_path / str(number), number))
    assert [one.dropped for one in read] == [True, False, False]
