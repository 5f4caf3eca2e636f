"""A folder whose config.json isn't that of its weights is refused before anything is made of it."""

import json
import time
from pathlib import Path

import pytest

from assistant.engine.networks import loading
from assistant.errors import ModelError, ModelIncomplete
from tests.assistant.engine import tiny


def changed(folder: Path, **values: object) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return folder


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("llama", "num_hidden_layers"),
        ("qwen2", "num_hidden_layers"),
        ("gemma3", "num_hidden_layers"),
        ("gpt2", "n_layer"),
    ],
)
def test_a_billion_layers(tmp_path: Path, kind: str, key: str) -> None:
    folder = changed(tiny.save(tmp_path / "m", kind), **{key: 1_000_000_000})
    began_s = time.perf_counter()
    with pytest.raises(ModelIncomplete, match=r"says 1,000,000,000 layers, but there are \d+ tensors"):
        loading.load(folder, "cpu", "auto")
    assert time.perf_counter() - began_s < 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 64),
        ("intermediate_size", 96),
        ("intermediate_size", 2**31),
        ("vocab_size", 640),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("head_dim", 32),
    ],
)
def test_widths_of_another_model(tmp_path: Path, key: str, value: int, dtype: str) -> None:
    folder = changed(tiny.save(tmp_path / "m"), **{"head_dim": 8, "layer_types": None, key: value})
    with pytest.raises(ModelError, match=r"don't fit its config\.json|can't run"):
        loading.load(folder, "cpu", dtype)
