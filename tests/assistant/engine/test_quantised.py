"""What was quantised once is the same when it is read again, and is made anew where anything is different."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from assistant.engine.engine import Engine
from assistant.engine.formats import quantised
from assistant.engine.generate.sampling import Sampling
from assistant.engine.networks import loading
from assistant.engine.networks.llama.blocks import Blocks, quantise
from assistant.events import Token
from tests.assistant.engine import ask, tiny

CPU = torch.device("cpu")


class Maker:
    """Weights, and how often they were made."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.made = 0
        self.weights: dict[str, Tensor | Blocks] = {
            "eight": quantise(torch.randn(4, 64), 8),
            "four": quantise(torch.randn(4, 64), 4),
            "norm": torch.randn(8),
        }

    def __call__(self) -> Mapping[str, Tensor | Blocks]:
        self.made += 1
        return self.weights


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(quantised, "WORTH_S", 0)
    file = tmp_path / "model" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    return file


def test_read_again(source: Path, tmp_path: Path) -> None:
    make = Maker()
    for _ in range(2):
        found = quantised.weights(tmp_path / "store", [source], "int4", CPU, make)
        for name, one in make.weights.items():
            again = found[name]
            if isinstance(one, Blocks):
                assert isinstance(again, Blocks) and again.kind == one.kind and torch.equal(again.rows, one.rows)
            else:
                assert isinstance(again, Tensor) and torch.equal(again, one)
    assert make.made == 1
    quantised.weights(tmp_path / "store", [source], "int8", CPU, make)
    assert make.made == 2, "another precision"
    source.write_bytes(b"other weights")
    quantised.weights(tmp_path / "store", [source], "int4", CPU, make)
    assert make.made == 3, "other weights"
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "store").iterdir()} == {0o600}


def test_what_takes_no_time_is_not_kept(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "WORTH_S", 60)
    quantised.weights(tmp_path / "store", [source], "int4", CPU, Maker())
    assert not (tmp_path / "store").exists()


def test_a_store_that_is_damaged_or_cannot_be_written(source: Path, tmp_path: Path) -> None:
    make, store = Maker(), tmp_path / "store"
    quantised.weights(store, [source], "int4", CPU, make)
    (file,) = store.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    assert quantised.weights(store, [source], "int4", CPU, make) and make.made == 2
    assert quantised.weights(store, [source], "int4", CPU, make) and make.made == 2, "it was mended"
    blocked = tmp_path / "a file"
    blocked.write_text("")
    assert quantised.weights(blocked, [source], "int4", CPU, make) and make.made == 3


def test_what_was_made_of_a_model_that_is_gone_or_never_finished_goes_too(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"more")
    quantised.weights(tmp_path / "store", [source], "int4", CPU, Maker())
    killed = tmp_path / "store" / "half.1234.part"
    killed.write_bytes(b"half")
    os.utime(killed, (0, 0))
    source.unlink()
    quantised.weights(tmp_path / "store", [other], "int4", CPU, Maker())
    assert len(list((tmp_path / "store").iterdir())) == 1


def test_an_engine_says_the_same_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "WORTH_S", 0)
    monkeypatch.setattr(loading, "cache_folder", lambda: tmp_path / "cache")
    folder = tiny.save(tmp_path / "model")

    def said() -> list[int | None]:
        events = ask.complete(Engine.load(folder, device="cpu", dtype="int4"), "the fox", Sampling(temperature=0))
        return [event.id for event in events if isinstance(event, Token)]

    first = said()
    assert len(list((tmp_path / "cache" / "quantised").iterdir())) == 1
    monkeypatch.setattr(loading, "quantise", None)
    assert said() == first
