"""The files of a model's weights: which there are, whether they are whole, what their headers say, their hash.

Loads no torch, so that a dataset can be made for a model without it.
"""

import hashlib
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from assistant.engine.formats.gguf import GGML, WEIGHTS, stamp
from assistant.errors import ModelIncomplete, ModelUnsupported

INDEX = "model.safetensors.index.json"
LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
"""What configurations call the number of layers."""
_HASH = ".sha256.json"
"""Where the hash of a folder's weights is kept, with the sizes and times of the files it was made of."""


def check(folder: Path) -> None:
    """Raise `ModelIncomplete` naming the files of `folder` that are missing, cut or no safetensors.

    Also where `config.json` says more layers than there are tensors: configurations make lists as long as that.
    """
    wanted = files(folder)
    missing = [file.name for file in wanted if not file.is_file()]
    if missing:
        raise ModelIncomplete(f"{folder} lacks {', '.join(missing)}. Pull the model again.")
    if damaged := [file.name for file in wanted if not _is_whole(file)]:
        raise ModelIncomplete(f"Files in {folder} are damaged or cut: {', '.join(damaged)}. Pull the model again.")
    tables, tensors = read_json(folder / "config.json"), len(shapes(folder))
    nested = (one for one in tables.values() if isinstance(one, dict))
    for layers in (table.get(key) for table in (tables, *nested) for key in LAYERS):
        if isinstance(layers, int) and not 0 <= layers <= tensors:
            raise ModelIncomplete(
                f"{folder / 'config.json'} is damaged: it says {layers:,} layers, but there are {tensors:,} tensors. "
                "Pull the model again."
            )


def files(folder: Path) -> list[Path]:
    """The safetensors files of the model, whether they are there or not."""
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        if not (folder / WEIGHTS).exists() and (pickles := sorted(folder.glob("*.bin"))):
            raise ModelUnsupported(f"{folder} has only {pickles[0].name}, which is pickle. Get it as safetensors.")
        return [folder / WEIGHTS]
    names = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, dict) or not names or any(Path(str(name)).name != name for name in names.values()):
        raise ModelIncomplete(f"{folder / INDEX} is damaged: it names no files. Pull the model again.")
    return [folder / name for name in sorted(set(names.values()))]


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each weight by Hugging Face's names, as the files' headers say."""
    tables = read_ggml(folder).get("tensors") or {
        name: table for file in files(folder) for name, table in header(file).items()
    }
    return {name: tuple(table["shape"]) for name, table in tables.items()}


def sha256(folder: Path) -> str:
    """SHA-256 of the weights: of the one file, of the list of hashes where there are more, or of the GGUF itself.

    Kept beside them, since hashing many gigabytes takes a minute.
    """
    if "sha256" in (ggml := read_ggml(folder)):
        return str(ggml["sha256"])
    hashed = files(folder)
    stamps = [stamp(file) for file in hashed]
    with suppress(ModelIncomplete):
        if (kept := read_json(folder / _HASH)).get("files") == stamps:
            return str(kept["sha256"])
    hashes = [_file_sha256(file) for file in hashed]
    lines = "".join(f"{one}  {file.name}\n" for one, file in zip(hashes, hashed, strict=True))
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256(lines.encode()).hexdigest()
    with suppress(OSError):  # a folder that can't be written to is hashed each time
        (folder / _HASH).write_text(json.dumps({"sha256": whole, "files": stamps}), encoding="utf-8")
    return whole


def read_ggml(folder: Path) -> dict[str, Any]:
    """Types and shapes of the blocks of a converted GGUF file; empty in another folder."""
    return read_json(folder / GGML) if (folder / GGML).exists() else {}


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `ModelIncomplete`."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelIncomplete(f"{file.parent} lacks {file.name}. Pull the model again.") from error
    except (OSError, ValueError) as error:
        raise ModelIncomplete(f"{file} is damaged: {error}. Pull the model again.") from error
    if not isinstance(table, dict):
        raise ModelIncomplete(f"{file} is damaged: it holds no table. Pull the model again.")
    return table


def header(file: Path) -> dict[str, Any]:
    """Name -> {dtype, shape, data_offsets} of a safetensors file."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        table = json.loads(opened.read(min(length, 100_000_000)))  # the format's own limit
    table.pop("__metadata__", None)
    return dict(table)


def _is_whole(file: Path) -> bool:
    """Whether the file has the bytes that its header says."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
        end = max((table["data_offsets"][1] for table in header(file).values()), default=0)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return False
    return bool(file.stat().st_size == 8 + length + end)


def _file_sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
