"""A GGUF file -> a folder of our own form, once: Hugging Face's configuration and tokenizer, the GGUF's very blocks.

`model.safetensors` holds each tensor's quantised blocks as uint8 (rows, bytes) under Hugging Face's name, `ggml.json`
their types and shapes; `weights` unpacks them at load. Nothing is rounded on the way. What is outside the Llama family
is read by transformers instead, which unpacks it.
"""

import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from assistant.engine.formats import gguf_config, gguf_header, gguf_tokenizer
from assistant.engine.formats import gguf_through_transformers as through_transformers
from assistant.engine.formats.gguf_header import Tensor
from assistant.errors import ModelError, ModelIncomplete, ModelUnsupported
from assistant.events import Loading

GGML = "ggml.json"
"""In a folder of our form: {"form", "source", "sha256" of the GGUF, "tensors": {name: {"type": …, "shape": …}}}."""
WEIGHTS = "model.safetensors"
FORM = 2
"""Raised whenever other files are made of a GGUF file."""
TOKENS = "tokenizer.ggml.tokens"
ALIGNMENT = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes that a number's address must be a multiple of: in safetensors, which has no gaps, such tensors come first."""
UNPACKED = frozenset(
    (
        "F32",
        "F16",
        "BF16",
        "Q4_0",
        "Q4_1",
        "Q5_0",
        "Q5_1",
        "Q8_0",
        "Q2_K",
        "Q3_K",
        "Q4_K",
        "Q5_K",
        "Q6_K",
        "IQ4_NL",
        "IQ4_XS",
        "IQ3_S",
        "IQ3_XXS",
        "IQ2_S",
        "IQ2_XS",
        "IQ2_XXS",
        "IQ1_S",
        "IQ1_M",
        "TQ1_0",
        "TQ2_0",
        "MXFP4",
    )
)
"""Types that `ggml.dequantise` knows."""


def convert(file: Path, folder: Path, progress: Callable[[Loading], None]) -> None:
    """Make `folder` of `file`; it appears when it is whole, and takes the place of an older one.

    Raises `ModelUnsupported` or `ModelIncomplete`.
    """
    progress(Loading("reading the GGUF file"))
    source = stamp(file)
    metadata, tensors = _read(file)
    with _appearing(folder, file) as temporary:
        if gguf_config.is_family(metadata):
            with _readable(file):
                table = _convert_family(metadata, tensors, temporary)
            sha256 = _write_and_hash(file, temporary / WEIGHTS, table, progress)
        else:
            through_transformers.convert(file, metadata, tensors, temporary / WEIGHTS, progress)
            table, sha256 = {}, _sha256(file)
        kinds = {name: {"type": tensor.kind, "shape": tensor.shape} for name, tensor in table.items()}
        document = {"form": FORM, "source": source, "sha256": sha256, "tensors": kinds}
        (temporary / GGML).write_text(json.dumps(document), encoding="utf-8")


def stamp(file: Path) -> list[Any]:
    """Tells one state of a file from another: its name, bytes and time of change in ns."""
    stat = file.stat()
    return [file.resolve().name, stat.st_size, stat.st_mtime_ns]


def is_current(file: Path, folder: Path) -> bool:
    """Whether `folder` was made of `file` as it is now."""
    try:
        document = json.loads((folder / GGML).read_text(encoding="utf-8"))
        return bool((document.get("form"), document["source"]) == (FORM, stamp(file)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _read(file: Path) -> tuple[dict[str, Any], list[Tensor]]:
    """Metadata and tensors of a language model (mapped, not loaded)."""
    metadata, tensors = gguf_header.read(file)
    if not isinstance(metadata.get("general.architecture"), str) or not _is_texts(metadata.get(TOKENS)):
        raise ModelUnsupported(f"{file} holds no language model: it names no architecture or no tokens.")
    return metadata, tensors


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _convert_family(metadata: Mapping[str, Any], tensors: list[Tensor], folder: Path) -> dict[str, Tensor]:
    """Write configuration and tokenizer; the tensors by Hugging Face's names."""
    named = {tensor.name: tensor for tensor in tensors}
    factors = named.pop(gguf_config.ROPE_FACTORS, None)
    architecture = metadata["general.architecture"]
    if metadata.get("split.count", 1) > 1:
        raise ModelUnsupported("The GGUF file is one of several parts. Join them: llama-gguf-split --merge FIRST NEW.")
    unknown = sorted(name for name in named if gguf_config.hf_name(name, architecture) is None)
    if unknown:
        raise ModelUnsupported(f"The GGUF file holds tensors we don't know: {', '.join(unknown[:3])!r:.99}.")
    for tensor in tensors:
        if tensor.kind not in UNPACKED:
            raise ModelUnsupported(
                f"The GGUF file's {tensor.name} is of ggml's type {tensor.kind}, which we can't read."
            )
    rope_factors = [] if factors is None else factors.rows.view("<f4").ravel().tolist()
    try:
        gguf_config.check(metadata, {name: tensor.shape for name, tensor in named.items()})
        config = gguf_config.config(metadata, list(named), rope_factors)
    except KeyError as error:
        raise ModelIncomplete(f"The GGUF file doesn't say {error.args[0]}. Get it from another source.") from error
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    ends = {key: value for key, value in config.items() if key.endswith("_token_id") and value is not None}
    (folder / "generation_config.json").write_text(json.dumps(ends, indent=2), encoding="utf-8")
    gguf_tokenizer.save(metadata, folder)
    named = dict(sorted(named.items(), key=lambda item: -ALIGNMENT.get(item[1].kind, 0)))
    return {str(gguf_config.hf_name(name, architecture)): _as_theirs(metadata, one) for name, one in named.items()}


def _write_and_hash(
    file: Path, weights: Path, tensors: Mapping[str, Tensor], progress: Callable[[Loading], None]
) -> str:
    """Write `tensors` and return the SHA-256 of `file`, at the same time: either takes a second for a gigabyte."""
    with ThreadPoolExecutor(1) as pool:
        hashed = pool.submit(_sha256, file)
        _write_safetensors(weights, tensors, progress)
        return hashed.result()


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Whatever a damaged header makes of what reads it is a `ModelIncomplete`: the tokenizers library, too, raises bare
    exceptions.
    """
    try:
        yield
    except (ModelError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelIncomplete(f"{file} is damaged: {reason:.200}. Get it again.") from error


def _as_theirs(metadata: Mapping[str, Any], tensor: Tensor) -> Tensor:
    """The tensor as Hugging Face has it: ggml pairs row i of a head with row i + half, and Gemma's norms are 1 more."""
    if offset := gguf_config.norm_offset(metadata, tensor.name):
        if tensor.kind != "F32":
            raise ModelUnsupported(f"The GGUF file's {tensor.name} is of the type {tensor.kind}; we read F32 there.")
        numbers = tensor.rows.view("<f4") - np.float32(offset)
        return Tensor(tensor.name, tensor.kind, tensor.shape, numbers.view(np.uint8))
    heads = gguf_config.interleaved_heads(metadata, tensor.name)
    if not heads:
        return tensor
    by_row = tensor.rows.reshape(tensor.shape[0], -1)
    rows = by_row.reshape(heads, -1, 2, by_row.shape[-1]).swapaxes(1, 2).reshape(tensor.rows.shape)
    return Tensor(tensor.name, tensor.kind, tensor.shape, rows)


def _write_safetensors(file: Path, tensors: Mapping[str, Tensor], progress: Callable[[Loading], None]) -> None:
    """One tensor after the other, so that a big model is never in memory whole.

    The format: 8 bytes for the length of a JSON header, the header, the data. https://github.com/huggingface/safetensors
    """
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.rows.nbytes
        header[name] = {"dtype": "U8", "shape": list(tensor.rows.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(encoded)) + encoded)
        begin = out.tell()
        for tensor in tensors.values():
            out.write(np.ascontiguousarray(tensor.rows).data)
            progress(Loading("converting the GGUF file", (out.tell() - begin) / end))


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _appearing(folder: Path, file: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder` when all went well."""
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # private: mode 0700
        yield temporary
        for written in temporary.iterdir():
            written.chmod(0o600)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        raise ModelIncomplete(
            f"{file.name} can't be converted in {folder.parent}: {error.strerror or error}. "
            f"It needs about {file.stat().st_size / 1e9:.1f} GB of free space there, and to be allowed to write."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
