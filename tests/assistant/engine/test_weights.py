"""Folders of safetensors: what is whole is loaded, what is not is named, nothing of the model's own is run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from assistant.engine.formats import weights
from assistant.engine.models import weight_files
from assistant.errors import ModelIncomplete, ModelUnsupported
from tests.assistant.engine import tiny

CPU = torch.device("cpu")
IDS = torch.arange(3, 40)[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save(tmp_path / "model", "llama")


@pytest.fixture
def sharded(folder: Path) -> Path:
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


def reference(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    logits: torch.Tensor = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)(IDS).logits
    return logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_same_as_transformers(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    folder = tiny.save(tmp_path, kind)
    model = weights.load(folder, dtype, CPU)
    assert {weight.dtype for weight in model.parameters()} == {dtype}
    assert not any(weight.requires_grad for weight in model.parameters()) and not model.training
    assert torch.equal(model(IDS).logits, reference(folder, dtype))
    assert weights.stored(folder, own_forward=True).parameters == sum(weight.numel() for weight in model.parameters())


def test_several_files(sharded: Path) -> None:
    model = weights.load(sharded, torch.float32, CPU)
    assert torch.equal(model(IDS).logits, reference(sharded))
    assert weights.stored(sharded, own_forward=True).parameters == sum(weight.numel() for weight in model.parameters())


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def garble(file: Path) -> None:
    file.write_bytes(b"\xff" * 100)


@pytest.mark.parametrize("damage", [cut, garble, lambda file: file.write_bytes(b"")])
def test_damaged_files_are_named(sharded: Path, damage: Callable[[Path], None]) -> None:
    first, *_, last = sorted(sharded.glob("*.safetensors"))
    damage(first)
    damage(last)
    with pytest.raises(ModelIncomplete, match=f"damaged or cut: .*{first.name}, .*{last.name}"):
        weights.load(sharded, torch.float32, CPU)


def test_missing_files_are_named(sharded: Path) -> None:
    first, *_ = sorted(sharded.glob("*.safetensors"))
    first.unlink()
    with pytest.raises(ModelIncomplete, match=f"lacks {first.name}"):
        weights.load(sharded, torch.float32, CPU)


def test_missing_tensors_are_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ModelIncomplete, match=r"lacks 9 tensors, such as model\.layers\.2"):
        weights.load(folder, torch.float32, CPU)


def test_weights_of_another_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(ModelIncomplete, match=r"don't fit its config\.json"):
        weights.load(folder, torch.float32, CPU)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": "../../b.safetensors"}}']
)
def test_a_damaged_index(sharded: Path, content: str) -> None:
    (sharded / weight_files.INDEX).write_text(content)
    with pytest.raises(ModelIncomplete, match=r"model\.safetensors\.index\.json is damaged"):
        weights.load(sharded, torch.float32, CPU)


def test_pickle_is_never_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelUnsupported, match=r"only pytorch_model\.bin, which is pickle"):
        weights.load(folder, torch.float32, CPU)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "brand-new"}, "'brand-new'"),
        ({"model_type": "clip"}, "'clip', which doesn't write text"),
        ({"model_type": "openai-gpt"}, "'openai-gpt', which has no KV cache"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised with gptq"),
        ({"num_hidden_layers": "two"}, "'llama', which we can't run"),
    ],
)
def test_models_we_cannot_run(folder: Path, changes: dict[str, object], sentence: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ModelUnsupported, match=sentence):
        weights.load(folder, torch.float32, CPU)


def test_code_that_comes_with_a_model_is_not_run(folder: Path) -> None:
    ran = folder / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilModel"}
    for kind in ("llama", "evil"):
        (folder / "config.json").write_text(json.dumps({**config, "model_type": kind, "auto_map": auto_map}))
        if kind == "llama":
            weights.load(folder, torch.float32, CPU)
        else:
            with pytest.raises(ModelUnsupported, match="'evil'"):
                weights.load(folder, torch.float32, CPU)
    assert not ran.exists()


def test_hash_is_of_the_file_and_kept_until_it_changes(folder: Path) -> None:
    file = folder / "model.safetensors"
    assert weight_files.sha256(folder) == hashlib.sha256(file.read_bytes()).hexdigest()
    kept = folder / ".sha256.json"
    kept.write_text(kept.read_text().replace(weight_files.sha256(folder), "0" * 64))
    assert weight_files.sha256(folder) == "0" * 64  # not computed again
    file.write_bytes(file.read_bytes())
    assert weight_files.sha256(folder) == hashlib.sha256(file.read_bytes()).hexdigest()
    kept.write_text("damaged")
    assert weight_files.sha256(folder) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_hash_of_several_files_tells_them_apart(sharded: Path) -> None:
    before = weight_files.sha256(sharded)
    first, second, *_ = sorted(sharded.glob("*.safetensors"))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert weight_files.sha256(sharded) != before
