"""Whatever stands in a GGUF file: it is read, or refused with a sentence, quickly, and nothing half written stays."""

import random
import re
import struct
import time
from pathlib import Path

import gguf as reference
import pytest
import torch
from transformers import AutoModelForCausalLM

from assistant.engine.formats import gguf, gguf_header
from assistant.engine.networks import loading
from assistant.engine.networks.network import Ask, Conversation
from assistant.errors import ModelError, ModelIncomplete, ModelTooLarge, ModelUnsupported
from tests.assistant.engine import gguf_file, tiny

NUMBERS = [0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
TYPES = [0, 7, 8, 9, 12, 99, 2**31, 2**32 - 1]
MUTATIONS = 400
SLOW_S = 20.0


def written(file: Path, kind: str, mix: str | tuple[str, ...]) -> bytes:
    torch.manual_seed(3)
    tokenizer = tiny.tokenizer()
    config = tiny.CONFIGS[kind]()
    config.update({"vocab_size": len(tokenizer), "head_dim": 64, "hidden_size": 256, "intermediate_size": 256})
    gguf_file.write(file, AutoModelForCausalLM.from_config(config), tokenizer, mix)
    return file.read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("gguf")
    mixes = {"llama": ("Q4_K", "Q6_K"), "gemma3": ("Q5_K", "Q8_0", "IQ4_NL"), "qwen3": ("Q3_K", "F16")}
    return [written(folder / f"{kind}.gguf", kind, mix) for kind, mix in mixes.items()]


def mutated(data: bytes, seed: int) -> bytes:
    """One number, type, byte or length of the header changed, or the end cut off."""
    rng, made = random.Random(seed), bytearray(data)
    end = data.index(b"blk.0.attn_q.weight") + 2000  # among the entries of the tensors
    match seed % 6:
        case 0:
            struct.pack_into("<Q", made, rng.randrange(8, end), rng.choice(NUMBERS))
        case 1:
            struct.pack_into("<Q", made, rng.choice([8, 16]), rng.choice(NUMBERS))
        case 2:
            struct.pack_into("<I", made, rng.randrange(4, end), rng.choice(TYPES))
        case 3:
            del made[rng.randrange(1, len(made)) :]
        case 4:
            for _ in range(rng.randrange(1, 12)):
                made[rng.randrange(4, end)] = rng.randrange(256)
        case _:  # the number or the type of an entry, just behind its key
            keys = [match.end() for match in re.finditer(rb"(llama|gemma3|qwen3|tokenizer|general)\.[a-z_.]+", data)]
            at = rng.choice(keys)
            struct.pack_into("<I", made, at + rng.choice([0, 4]), rng.choice([*TYPES, 5, 6, 10]))
    return bytes(made)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(8))
def test_mutated_files_run_or_are_refused(tmp_path: Path, files: list[bytes], part: int) -> None:
    for seed in range(part, MUTATIONS, 8):
        (tmp_path / "file.gguf").write_bytes(mutated(files[seed % len(files)], seed))
        began_s = time.perf_counter()
        try:
            gguf.convert(tmp_path / "file.gguf", tmp_path / "own", lambda _: None)
            network, _, _ = loading.load(tmp_path / "own", "cpu", "auto")
            network.logits([Ask(Conversation(network.cache()), [3, 4, 5])])
        except ModelError as error:
            assert str(error).endswith((".", "safetensors.")) and len(str(error)) < 700, (seed, str(error))
        assert time.perf_counter() - began_s < SLOW_S, seed
        left = {path.name for path in tmp_path.iterdir()}
        assert left <= {"file.gguf", "own"}, seed
        gguf.shutil.rmtree(tmp_path / "own", ignore_errors=True)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_cut_k_quant(tmp_path: Path, files: list[bytes], share: float) -> None:
    (tmp_path / "file.gguf").write_bytes(files[0][: int(len(files[0]) * share)])
    with pytest.raises(ModelIncomplete, match=r"damaged or cut short .* bytes\): .*\. Get it again\."):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["file.gguf"]


def changed(data: bytes, key: bytes, number: int) -> bytes:
    """The 32-bit number behind a key of the metadata changed."""
    at = data.index(key) + len(key) + 4
    return data[:at] + struct.pack("<I", number) + data[at + 4 :]


@pytest.mark.parametrize(
    ("key", "number", "sentence"),
    [
        (b"llama.block_count", 1_000_000_000, r"says 1,000,000,000 layers, but holds tensors of 2\. Get it again"),
        (b"llama.block_count", 1, "says 1 layers, but holds tensors of 2"),
        (b"llama.block_count", 0, "llama.block_count is 0, not a whole number from 1"),
        (b"llama.embedding_length", 128, r"has the shape \[\d+, 256\], not \[\d+, 128\]"),
        (b"llama.attention.head_count", 2**31 - 1, "is damaged"),
        (b"llama.attention.head_count_kv", 3, "4 heads share 3 key heads"),
        (b"llama.attention.key_length", 2**30, "is damaged"),
        (b"llama.feed_forward_length", 2**31 - 1, "is damaged"),
    ],
)
def test_a_header_that_is_not_that_of_its_tensors(
    tmp_path: Path, files: list[bytes], key: bytes, number: int, sentence: str
) -> None:
    (tmp_path / "file.gguf").write_bytes(changed(files[0], key, number))
    with pytest.raises(ModelIncomplete, match=sentence):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["file.gguf"]


@pytest.mark.parametrize(
    ("number", "sentence"), [(99, "type 99, unknown to us"), (9, "type Q8_1, which we can't read")]
)
def test_an_unknown_type(tmp_path: Path, files: list[bytes], number: int, sentence: str) -> None:
    name = b"blk.0.attn_q.weight"
    at = files[0].index(name) + len(name) + 4 + 16
    (tmp_path / "file.gguf").write_bytes(files[0][:at] + struct.pack("<I", number) + files[0][at + 4 :])
    with pytest.raises(ModelUnsupported, match=rf"blk\.0\.attn_q\.weight.* is of ggml's {sentence}"):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", lambda _: None)


@pytest.mark.parametrize(("at", "count"), [(8, 2**63), (16, 2**64 - 1), (8, 10**6)])
def test_absurd_counts_are_refused_at_once(tmp_path: Path, files: list[bytes], at: int, count: int) -> None:
    (tmp_path / "file.gguf").write_bytes(files[0][:at] + struct.pack("<Q", count) + files[0][at + 8 :])
    began_s = time.perf_counter()
    with pytest.raises(ModelIncomplete, match=r"it says that .* entries follow"):
        gguf_header.read(tmp_path / "file.gguf")
    assert time.perf_counter() - began_s < 1


def test_the_header_is_that_of_gguf(tmp_path: Path, files: list[bytes]) -> None:
    for data in files:
        (tmp_path / "file.gguf").write_bytes(data)
        metadata, tensors = gguf_header.read(tmp_path / "file.gguf")
        reader = reference.GGUFReader(tmp_path / "file.gguf")
        wanted = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
        assert metadata == wanted
        assert [one.name for one in tensors] == [one.name for one in reader.tensors]
        for ours, theirs in zip(tensors, reader.tensors, strict=True):
            assert ours.kind == theirs.tensor_type.name and ours.shape == list(reversed(theirs.shape.tolist()))
            assert ours.rows.tobytes() == theirs.data.tobytes()


@pytest.mark.parametrize(
    ("version", "sentence"), [(1, "of version 1; we read 2 and 3"), (3 << 24, "of version 50331648")]
)
def test_other_versions(tmp_path: Path, files: list[bytes], version: int, sentence: str) -> None:
    (tmp_path / "file.gguf").write_bytes(files[0][:4] + struct.pack("<I", version) + files[0][8:])
    with pytest.raises(ModelUnsupported, match=sentence):
        gguf_header.read(tmp_path / "file.gguf")


def test_what_transformers_unpacks_is_refused_where_it_does_not_fit(
    tmp_path: Path, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.gguf").write_bytes(files[0].replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0llamb"))
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    with pytest.raises(ModelTooLarge, match=r"To unpack file\.gguf takes 0\.0 GB of memory, but 0\.0 GB are free"):
        gguf.convert(tmp_path / "file.gguf", tmp_path / "own", lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["file.gguf"]
