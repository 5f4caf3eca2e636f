"""Where a model is loaded from: a folder of safetensors, or a GGUF file converted once."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from assistant.engine.models import model_folder
from assistant.errors import ModelIncomplete, ModelUnknown, ModelUnsupported
from assistant.events import Loading
from tests.assistant.engine import gguf_file, tiny


def silent(_: Loading) -> None:
    pass


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    tokenizer = tiny.tokenizer()
    config = tiny.CONFIGS["llama"]()
    config.vocab_size = len(tokenizer)
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    gguf_file.write(file, AutoModelForCausalLM.from_config(config), tokenizer)
    return file.read_bytes()


@pytest.mark.parametrize("name", ["model.gguf", "Tiny-Q8_0.gguf"])
def test_a_gguf_file_is_converted_once(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    stages: list[str] = []
    for _ in range(2):
        assert model_folder.ready(tmp_path, lambda event: stages.append(event.stage)) == tmp_path / "converted"
    assert stages.count("reading the GGUF file") == 1
    assert model_folder.end_ids(tmp_path / "converted", tiny.CONFIGS["llama"]()) == {2}
    assert model_folder.WeightsHash(tmp_path / "converted").value()


def test_several_gguf_files(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(ModelUnsupported, match=r"several models: a\.gguf, b\.gguf"):
        model_folder.ready(tmp_path, silent)


def test_safetensors_beside_a_gguf_file(tmp_path: Path) -> None:
    tiny.save(tmp_path)
    (tmp_path / "other.gguf").touch()
    assert model_folder.ready(tmp_path, silent) == tmp_path


def test_what_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ModelIncomplete, match=r"nowhere is gone"):
        model_folder.ready(tmp_path / "nowhere", silent)
    with pytest.raises(ModelIncomplete, match=r"lacks tokenizer\.json"):
        model_folder.ready(tmp_path, silent)
    (tmp_path / "model.gguf").symlink_to(tmp_path / "moved.gguf")
    with pytest.raises(ModelUnknown, match=r"moved\.gguf is gone"):
        model_folder.ready(tmp_path, silent)


def test_damaged_tokenizer_and_generation_config(tmp_path: Path) -> None:
    tiny.save(tmp_path)
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(ModelIncomplete, match=r"generation_config\.json is damaged"):
        model_folder.end_ids(tmp_path, tiny.CONFIGS["llama"]())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelIncomplete, match=r"tokenizer in .* can't be used"):
        model_folder.load_tokenizer(tmp_path)
