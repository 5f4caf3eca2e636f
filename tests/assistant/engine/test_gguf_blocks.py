"""A GGUF file's blocks stay as they are, whatever kinds it mixes: logits and greedy tokens are those of float32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from assistant.engine.formats import gguf, weights
from assistant.engine.networks import loading
from assistant.engine.networks.llama import native
from assistant.engine.networks.llama.blocks import KINDS, Blocks
from assistant.engine.networks.llama.network import LlamaNetwork
from assistant.engine.networks.network import Ask, Conversation
from assistant.errors import ModelIncomplete
from tests.assistant.engine import gguf_file, tiny

pytestmark = pytest.mark.skipif(native.library() is None, reason="needs a C compiler and a CPU with AVX2")
Q4_K_M = ("Q4_K", "Q6_K", "Q4_K", "Q5_0", "Q4_K")
MIXES = {**{kind: (kind,) for kind in KINDS}, "Q4_K_M": Q4_K_M, "all kinds": tuple(KINDS)}
WIDE = {"hidden_size": 256, "intermediate_size": 512}
CPU = torch.device("cpu")


def converted(tmp_path: Path, kind: str, mix: tuple[str, ...], **changes: Any) -> Path:
    torch.manual_seed(2)
    tokenizer = tiny.tokenizer()
    config = tiny.CONFIGS[kind]()
    config.update({"vocab_size": len(tokenizer), "head_dim": 64, **WIDE, **changes})
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, tensor in model.named_parameters():
        tensor.data.normal_(0, 0.3 if "norm" in name else 0.05)
    gguf_file.write(tmp_path / "file.gguf", model, tokenizer, mix)
    gguf.convert(tmp_path / "file.gguf", tmp_path / "own", lambda _: None)
    return tmp_path / "own"


def network_of(folder: Path) -> LlamaNetwork:
    network, _, _ = loading.load(folder, "cpu", "auto")
    assert isinstance(network, LlamaNetwork)
    return network


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3", "granite", "smollm3"])
@torch.inference_mode()
def test_logits_and_greedy_tokens_are_those_of_float32(tmp_path: Path, kind: str, mix: tuple[str, ...]) -> None:
    folder = converted(tmp_path, kind, mix)
    network, plain = network_of(folder), weights.load(folder, torch.float32, CPU)
    ids = torch.randint(3, 300, (60,)).tolist()
    wanted = plain(torch.tensor([ids])).logits[0]
    conversation, seen = Conversation(network.cache()), []
    for at, end in ((0, 20), (20, 21), (21, 23), (23, 50), (50, 60)):  # a prompt in pieces, and later turns
        seen.append(network.logits([Ask(conversation, ids[at:end], last=end - at)])[0])
    got = torch.cat(seen)
    assert (got - wanted).abs().max() <= 5e-3 * wanted.abs().max()
    top = wanted.topk(2).values
    clear = top[:, 0] - top[:, 1] > 1e-2 * wanted.abs().max()
    assert torch.equal(got.argmax(-1)[clear], wanted.argmax(-1)[clear])
    kv = conversation.kv.copy(30)  # kept, and continued in another way
    other = Conversation(kv, ids=ids[:30])
    again = network.logits([Ask(other, ids[30:40], last=10)])[0]
    torch.testing.assert_close(again, got[30:40], rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_memory_is_the_files(tmp_path: Path, kind: str) -> None:
    folder = converted(tmp_path, kind, Q4_K_M)
    network = network_of(folder)
    modules = [one for one in network.model.modules() if isinstance(one, native.NativeLinear)]
    packed = sum(part.numel() for one in {id(one): one for one in modules}.values() for part in one.packed)
    stored = sum(one.rows.numel() for one in weights.tensors(folder).values() if isinstance(one, Blocks))
    assert packed <= 1.05 * stored


def test_rows_of_no_multiple_of_256_have_blocks_of_32(tmp_path: Path) -> None:
    folder = converted(tmp_path, "gemma3", ("Q5_0", "Q8_0", "IQ4_NL"), hidden_size=160, intermediate_size=352)
    ids = list(range(3, 20))
    with torch.inference_mode():
        wanted = weights.load(folder, torch.float32, CPU)(torch.tensor([ids])).logits[0, -1]
        network = network_of(folder)
        got = network.logits([Ask(Conversation(network.cache()), ids)])[0][0]
    assert (got - wanted).abs().max() <= 5e-3 * wanted.abs().max()


def test_a_k_quant_of_another_width_is_refused(tmp_path: Path) -> None:
    converted(tmp_path, "llama", ("Q4_K",))
    data = (tmp_path / "file.gguf").read_bytes()
    name = b"blk.0.ffn_up.weight"
    at = data.index(name) + len(name) + 4
    (tmp_path / "file.gguf").write_bytes(data[:at] + (160).to_bytes(8, "little") + data[at + 8 :])
    with pytest.raises(ModelIncomplete, match=r"'blk\.0\.ffn_up\.weight' of the type Q4_K has the shape \[512, 160\]"):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "new", lambda _: None)


def test_without_the_library_the_answers_are_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = converted(tmp_path, "llama", Q4_K_M)
    monkeypatch.setattr(native, "library", lambda: None)
    ids = list(range(3, 40))
    with torch.inference_mode():
        wanted = weights.load(folder, torch.float32, CPU)(torch.tensor([ids])).logits[0, -1]
        network = network_of(folder)
        got = network.logits([Ask(Conversation(network.cache()), ids)])[0][0]
    assert (got - wanted).abs().max() <= 5e-2 * wanted.abs().max()
