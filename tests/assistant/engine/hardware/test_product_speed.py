"""A measurement that other programs disturbed is not remembered."""

import json
from pathlib import Path

import pytest
import torch

from assistant.engine.hardware import product_speed
from assistant.engine.hardware.product_speed import ProductSpeed

FLOAT, BFLOAT = ProductSpeed(torch.float32, 3e11), ProductSpeed(torch.bfloat16, 2e12)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[ProductSpeed]:
    """What is measured, one after another."""
    made: list[ProductSpeed] = []
    monkeypatch.setattr(product_speed, "measured", lambda: made.pop(0))
    return made


@pytest.mark.parametrize(
    ("flags", "measured", "found", "remembered"),
    [
        ({"amx_bf16"}, [BFLOAT], BFLOAT, True),
        ({"amx_bf16"}, [FLOAT, BFLOAT], BFLOAT, True),
        ({"amx_bf16"}, [FLOAT, FLOAT, FLOAT], FLOAT, False),
        ({"avx2"}, [FLOAT], FLOAT, True),
        ({"avx2"}, [BFLOAT, FLOAT], FLOAT, True),
        (set(), [BFLOAT], BFLOAT, True),
    ],
)
def test_only_what_the_flags_confirm_is_remembered(
    answers: list[ProductSpeed],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flags: set[str],
    measured: list[ProductSpeed],
    found: ProductSpeed,
    *,
    remembered: bool,
) -> None:
    monkeypatch.setattr(product_speed, "cpu_flags", lambda: frozenset(flags))
    answers += measured
    file = tmp_path / "cache" / "speed.json"
    assert product_speed.fastest(file) == found
    assert answers == []
    answers += [ProductSpeed(torch.float32, 1.0)] * 3
    assert (product_speed.fastest(file) == found) == remembered


def test_what_is_forgotten_is_measured_again(
    answers: list[ProductSpeed], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(product_speed, "cpu_flags", lambda: frozenset({"amx_bf16"}))
    file = tmp_path / "speed.json"
    file.write_text(json.dumps({"another machine": "torch.float32", product_speed._machine(): "torch.float32"}))
    answers += [BFLOAT, BFLOAT]
    assert product_speed.fastest_dtype(file) == torch.bfloat16
    product_speed.forget(file)
    assert product_speed.fastest_dtype(file) == torch.bfloat16
    assert answers == []
    assert json.loads(file.read_text())["another machine"] == "torch.float32"


def test_it_is_really_measured() -> None:
    found = product_speed.measured()
    assert found.dtype in product_speed.CANDIDATES
    assert found.flops_per_s > 1e9


def test_a_file_that_can_not_be_written_does_no_harm(
    answers: list[ProductSpeed], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(product_speed, "cpu_flags", lambda: frozenset[str]())
    answers += [BFLOAT]
    (tmp_path / "file").write_text("no folder")
    assert product_speed.fastest_dtype(tmp_path / "file" / "speed.json") == torch.bfloat16
