"""Device, precision and context follow from the memory that is free."""

import pytest
import torch
from transformers import LlamaConfig

from assistant.engine.hardware import placement
from assistant.engine.hardware.placement import Placement, Stored
from assistant.errors import ModelError, ModelTooLarge
from tests.assistant.engine import tiny

CPU = torch.device("cpu")
PARAMETERS = 1_000_000_000


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_multiplies_bfloat16", lambda: False)


def stored(precision: str = "float32", *, own_forward: bool = True, parameters: int = PARAMETERS) -> Stored:
    size = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "blocks": 0.7}[precision]
    return Stored(parameters, int(parameters * size), precision, own_forward)


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(
    ("free", "wanted", "on_disk", "own_forward", "given"),
    [
        (5e9, "auto", "float32", True, "float32"),
        (4e9, "auto", "float32", True, "bfloat16"),
        (5e9, "auto", "bfloat16", True, "bfloat16"),
        (5e9, "auto", "bfloat16", False, "float32"),
        (2e9, "auto", "bfloat16", True, "int8"),
        (1e9, "auto", "float32", True, "int4"),
        (1e9, "auto", "blocks", True, "int8"),  # as they are
        (5e9, "auto", "blocks", False, "float32"),
        (5e9, "float16", "float32", True, "float16"),
        (2.3e9, "bfloat16", "float32", True, "bfloat16"),
        (5e9, "int4", "float32", True, "int4"),
    ],
)
def test_the_best_precision_that_fits(
    monkeypatch: pytest.MonkeyPatch, free: float, wanted: str, on_disk: str, own_forward: bool, given: str
) -> None:
    monkeypatch.setattr(placement, "free_bytes", lambda _: int(free))
    found = placement.place(stored(on_disk, own_forward=own_forward), "cpu", wanted)
    assert found == Placement(CPU, given, int(free))


def test_a_cpu_that_multiplies_bfloat16_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_multiplies_bfloat16", lambda: True)
    assert placement.place(stored(parameters=1000), "cpu", "auto").dtype == torch.bfloat16


def test_a_gpu_that_is_too_small_gets_fewer_bits_before_the_cpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(placement, "_multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(placement, "_devices", lambda _: [gpu, CPU])
    free = {"cuda": 3e9, "cpu": 50e9}
    monkeypatch.setattr(placement, "free_bytes", lambda device: int(free[device.type]))
    for memory, device, precision in [(3e9, "cuda", "bfloat16"), (2e9, "cuda", "int8"), (1e9, "cuda", "int4")]:
        free["cuda"] = memory
        found = placement.place(stored(), "auto", "auto")
        assert (found.device.type, found.precision, found.dtype) == (device, precision, torch.bfloat16)
    free["cuda"] = 1e8
    assert placement.place(stored(), "auto", "auto") == Placement(CPU, "float32", int(50e9))


@pytest.mark.usefixtures("memory")
def test_too_large_names_both_numbers_and_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "free_bytes", lambda _: 2_000_000_000)
    with pytest.raises(ModelTooLarge, match=r"4\.4 GB of memory in float32, but 2\.0 GB are free on cpu\. In int8 it"):
        placement.place(stored(), "cpu", "float32")
    with pytest.raises(ModelTooLarge, match=r"needs 2\.2 GB .* 2\.0 GB are free on cpu\. .* such as qwen3-0\.6b"):
        placement.place(stored(own_forward=False), "cpu", "auto")
    monkeypatch.setattr(placement, "free_bytes", lambda _: 1000)
    with pytest.raises(ModelTooLarge, match=r"choose a smaller model\.$"):
        placement.place(stored(), "cpu", "auto")


def test_precisions_that_cannot_be_had() -> None:
    with pytest.raises(ModelError, match="only models of the Llama family"):
        placement.place(stored(own_forward=False), "cpu", "int4")
    with pytest.raises(ModelError, match="'int3', but must be auto or one of float32"):
        placement.place(stored(), "cpu", "int3")


@pytest.mark.parametrize(
    ("left_bytes", "tokens"),
    [
        (10**9, 256),  # as trained
        (0, placement.LEAST_CONTEXT_TOKENS),
        (int(1000 * 2 * 2 * 2 * 8 * 4 / placement.CACHE_SHARE) + 50, 1000),  # keys and values, layers, heads, numbers
    ],
)
def test_the_context_is_what_has_room_for_its_cache(left_bytes: int, tokens: int) -> None:
    trained = 256 if tokens == 256 else 100_000
    config = LlamaConfig(**{**tiny.SIZES, "max_position_embeddings": trained})
    at = Placement(CPU, "float32", int(1000 * 4 * placement.WORK) + left_bytes)
    assert placement.context_tokens(config, stored(own_forward=False, parameters=1000), at) == tokens
