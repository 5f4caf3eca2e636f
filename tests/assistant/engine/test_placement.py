"""Device, precision and context follow from the memory that is free."""

import pytest
import torch
from transformers import LlamaConfig

from assistant.engine import placement
from assistant.engine.placement import Placement
from assistant.errors import ModelTooLarge
from tests.assistant.engine import tiny

CPU = torch.device("cpu")
PARAMETERS = 1_000_000_000


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_multiplies_bfloat16", lambda: False)


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(
    ("free", "wanted", "given"),
    [
        (5e9, "auto", torch.float32),
        (4e9, "auto", torch.bfloat16),
        (5e9, "float16", torch.float16),
        (2.3e9, "bfloat16", torch.bfloat16),
    ],
)
def test_the_best_precision_that_fits(
    monkeypatch: pytest.MonkeyPatch, free: float, wanted: str, given: torch.dtype
) -> None:
    monkeypatch.setattr(placement, "free_bytes", lambda _: int(free))
    assert placement.place(PARAMETERS, "cpu", wanted) == Placement(CPU, given, int(free))


def test_a_cpu_that_multiplies_bfloat16_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_multiplies_bfloat16", lambda: True)
    assert placement.place(1000, "cpu", "auto").dtype == torch.bfloat16


@pytest.mark.usefixtures("memory")
def test_too_large_names_both_numbers_and_a_model_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "free_bytes", lambda _: 2_000_000_000)
    with pytest.raises(ModelTooLarge, match=r"needs 2\.2 GB .* 2\.0 GB are free on cpu\. .* such as qwen3-0\.6b"):
        placement.place(PARAMETERS, "cpu", "auto")
    monkeypatch.setattr(placement, "free_bytes", lambda _: 1000)
    with pytest.raises(ModelTooLarge, match=r"choose a smaller model\.$"):
        placement.place(PARAMETERS, "cpu", "auto")


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
    at = Placement(CPU, torch.float32, int(1000 * 4 * placement.WORK) + left_bytes)
    assert placement.context_tokens(config, 1000, at) == tokens
