"""A GGUF file becomes a folder with the same weights, bit for bit, and the same answers."""

import json
from pathlib import Path
from typing import Any

import gguf as reference
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from assistant.engine.formats import gguf, weights
from assistant.engine.models import model_folder
from assistant.errors import ModelIncomplete, ModelUnsupported
from assistant.events import Loading
from tests.assistant.engine import gguf_file, tiny

CPU = torch.device("cpu")


def silent(_: Loading) -> None:
    pass


def model_of(kind: str, **changes: Any) -> Any:
    torch.manual_seed(1)
    config = tiny.CONFIGS[kind]()
    config.update(changes)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny.tokenizer()


@pytest.mark.parametrize("quantised", ["Q8_0", "Q4_1", "F16", "F32"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "granite", "smollm3", "gemma3"])
def test_same_weights_and_same_logits(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, kind: str, quantised: str
) -> None:
    original = model_of(kind, vocab_size=len(tokenizer), tie_word_embeddings=quantised == "F16")
    expected = gguf_file.write(tmp_path / "file.gguf", original, tokenizer, quantised)
    gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)
    loaded = weights.load(tmp_path / "own", torch.float32, CPU)
    seen = loaded.state_dict()
    assert set(expected) <= set(seen)
    for name, tensor in expected.items():
        assert torch.equal(seen[name], tensor), name
    original.load_state_dict(expected, strict=False)
    original.tie_weights()
    ids = torch.arange(3, 40)[None]
    assert torch.equal(loaded(ids).logits, original(ids).logits)
    assert weights.stored(tmp_path / "own", own_forward=True).parameters == sum(
        tensor.numel() for tensor in expected.values()
    )


def test_tokenizer_and_template_come_along(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    from transformers import AutoTokenizer

    original = model_of("llama", vocab_size=len(tokenizer))
    gguf_file.write(tmp_path / "file.gguf", original, tokenizer)
    gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)
    own = model_folder.load_tokenizer(tmp_path / "own")
    assert type(own) is type(AutoTokenizer.from_pretrained(tmp_path / "own"))
    chat = [{"role": "user", "content": "the quick 你好 <think> fox 1234"}]
    assert own.apply_chat_template(chat, tokenize=False) == tokenizer.apply_chat_template(chat, tokenize=False)
    assert own.apply_chat_template(chat)["input_ids"] == tokenizer.apply_chat_template(chat)["input_ids"]
    assert own.all_special_ids == tokenizer.all_special_ids
    assert {i: (t.content, t.special) for i, t in own.added_tokens_decoder.items()} == {
        i: (t.content, t.special) for i, t in tokenizer.added_tokens_decoder.items()
    }


@pytest.mark.filterwarnings("ignore")
def test_other_architectures_are_unpacked_by_transformers(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capfd: pytest.CaptureFixture[str]
) -> None:
    original = model_of("gpt2", vocab_size=len(tokenizer), n_positions=1024)
    writer = reference.GGUFWriter(tmp_path / "file.gguf", "gpt2")
    writer.add_context_length(1024)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(original.config.layer_norm_epsilon)
    gguf_file.write_tokenizer(writer, tokenizer, "gpt-2")
    names = reference.get_tensor_name_map(reference.MODEL_ARCH.GPT2, 2)
    for name, tensor in original.state_dict().items():
        if name == "lm_head.weight":
            continue
        transposed = any(part in name for part in ("c_attn.w", "c_proj.w", "c_fc.w"))
        data = (tensor.T if transposed else tensor).contiguous().numpy()
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    capfd.readouterr()
    gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)
    assert capfd.readouterr() == ("", "")
    loaded = weights.load(tmp_path / "own", torch.float32, CPU)
    ids = torch.arange(3, 40)[None]
    assert torch.allclose(loaded(ids).logits, original(ids).logits, atol=1e-5)


def test_llama_3_scaling_of_the_rotary_embedding_is_recovered(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    original = model_of("llama", vocab_size=len(tokenizer), rope_parameters=rope)
    plain = model_of("llama", vocab_size=len(tokenizer), rope_parameters={**rope, "rope_type": "default"})
    factors = plain.model.rotary_emb.inv_freq / original.model.rotary_emb.inv_freq
    assert factors.max() > 2

    def more(writer: reference.GGUFWriter) -> None:
        writer.add_tensor("rope_freqs.weight", factors.numpy())

    gguf_file.write(tmp_path / "file.gguf", original, tokenizer, more=more)
    gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)
    loaded = weights.load(tmp_path / "own", torch.float32, CPU)
    assert torch.allclose(loaded.model.rotary_emb.inv_freq, original.model.rotary_emb.inv_freq, rtol=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> bytes:
    file = tmp_path_factory.mktemp("gguf") / "file.gguf"
    gguf_file.write(file, model_of("llama", vocab_size=len(tokenizer)), tokenizer)
    return file.read_bytes()


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.2, 0.5, 0.9, 0.99])
def test_a_cut_file(tmp_path: Path, whole: bytes, share: float) -> None:
    (tmp_path / "file.gguf").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelIncomplete, match=r"file\.gguf is damaged or cut short"):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.gguf"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04zip", b"<html>not found</html>"])
def test_no_gguf_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.gguf").write_bytes(content)
    with pytest.raises(ModelUnsupported, match="is not a GGUF file"):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("general.architecture", b"lla9a", "'lla9a', which can't be read from GGUF"),
        ("tokenizer.ggml.pre", b"gpt-9", "'gpt-9'.*original folder"),
        ("tokenizer.ggml.model", b"gpt9", "'gpt9'"),
        ("llama.block_count", b"\x07\x00\x00\x00", None),
    ],
)
def test_what_we_cannot_run(tmp_path: Path, whole: bytes, key: str, value: bytes, sentence: str | None) -> None:
    at = whole.index(key.encode()) + len(key) + 4
    at += 8 if sentence else 0  # a text's length
    (tmp_path / "file.gguf").write_bytes(whole[:at] + value + whole[at + len(value) :])
    with pytest.raises(
        ModelUnsupported if sentence else ModelIncomplete, match=sentence or "7 layers, .* tensors of 2"
    ):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(("name", "sentence"), [("blk.0.attn_sinks.weight", "attn_sinks"), ("odd", "odd")])
def test_tensors_we_do_not_know(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, name: str, sentence: str) -> None:
    def more(writer: reference.GGUFWriter) -> None:
        writer.add_tensor(name, torch.ones(4).numpy())

    gguf_file.write(tmp_path / "file.gguf", model_of("llama", vocab_size=len(tokenizer)), tokenizer, more=more)
    with pytest.raises(ModelUnsupported, match=sentence):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)


def test_one_part_of_several(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    def more(writer: reference.GGUFWriter) -> None:
        writer.add_uint16("split.count", 3)

    gguf_file.write(tmp_path / "file.gguf", model_of("llama", vocab_size=len(tokenizer)), tokenizer, more=more)
    with pytest.raises(ModelUnsupported, match="--merge"):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", silent)


def test_made_anew_when_the_file_changes_and_private(tmp_path: Path, whole: bytes) -> None:
    file, folder = tmp_path / "file.gguf", tmp_path / "own"
    file.write_bytes(whole)
    assert not gguf.is_current(file, folder)
    fractions: list[float | None] = []
    gguf.convert(file, folder, lambda event: fractions.append(event.fraction))
    assert gguf.is_current(file, folder)
    known = [fraction for fraction in fractions if fraction is not None]
    assert known == sorted(known) and known[-1] == 1
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    file.write_bytes(whole)
    assert not gguf.is_current(file, folder)
    (folder / "left over").touch()
    gguf.convert(file, folder, silent)
    assert gguf.is_current(file, folder) and not (folder / "left over").exists()
    (folder / "ggml.json").write_text(json.dumps({"source": 1})[:-1])
    assert not gguf.is_current(file, folder)


def test_a_folder_that_cannot_be_written(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "file.gguf").write_bytes(whole)
    with pytest.raises(ModelIncomplete, match=r"can't be converted in .*missing"):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "missing" / "own", silent)
