"""A model's folder made ready: its GGUF converted once, its tokenizer, its end-of-turn tokens, its hash."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assistant.engine.formats import gguf, gguf_tokenizer
from assistant.engine.models import weight_files
from assistant.engine.models.catalogue import GGUF_FILE
from assistant.errors import ModelError, ModelIncomplete, ModelUnknown, ModelUnsupported
from assistant.events import Loading

CONVERTED = "converted"
"""Subfolder of a model that came as GGUF, in our own form."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


def ready(folder: Path, progress: Callable[[Loading], None]) -> Path:
    """The folder to load from: `folder` itself, or what its GGUF file was converted into.

    Raises `ModelUnknown` where a GGUF file is gone, `ModelIncomplete` naming what a folder lacks.
    """
    file = _gguf(folder)
    if file.is_symlink() and not file.exists():
        raise ModelUnknown(f"The GGUF file {file.readlink()} is gone. Put it back, or remove the model.")
    if file.exists():
        if not gguf.is_current(file, folder / CONVERTED):
            gguf.convert(file, folder / CONVERTED, progress)
        return folder / CONVERTED
    if not folder.is_dir():
        raise ModelIncomplete(f"The model folder {folder} is gone. Put it back, or remove the model.")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelIncomplete(f"{folder} lacks tokenizer.json. Pull the model again.")
    return folder


def _gguf(folder: Path) -> Path:
    """Where the folder's GGUF file is, if it came as one: ours, or the only one in a folder of the person's own."""
    found = sorted(folder.glob("*.gguf"))
    if (folder / GGUF_FILE) in found or not found or (folder / "config.json").exists():
        return folder / GGUF_FILE
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ModelUnsupported(f"{folder} holds several models: {names}. Give the path of one of these files.")
    return found[0]


def load_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer. Raises `ModelIncomplete` where its files don't make one."""
    try:
        if weight_files.read_ggml(folder).get("tensors"):
            return gguf_tokenizer.load(folder)  # without torch
        from transformers import AutoTokenizer  # loads torch: 4 s

        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelIncomplete(f"The tokenizer in {folder} can't be used: {reason}. Get its files again.") from error


def end_ids(folder: Path, config: Any) -> set[int]:
    """The tokens that `generation_config.json` and `config.json` say end a reply."""
    found = [config.get_text_config(decoder=True).eos_token_id]
    if (file := folder / "generation_config.json").is_file():
        try:
            found.append(json.loads(file.read_text(encoding="utf-8")).get("eos_token_id"))
        except (OSError, ValueError, AttributeError) as error:
            raise ModelIncomplete(f"{file} is damaged: {error}. Pull the model again.") from error
    return {one for ids in found for one in (ids if isinstance(ids, list) else [ids]) if isinstance(one, int)}


class WeightsHash:
    """SHA-256 of the weights, read in a thread of its own: ten seconds for 15 GB, which nobody should wait for."""

    def __init__(self, folder: Path) -> None:
        self._value = ""
        self._thread = threading.Thread(target=self._compute, args=(folder,), name="weights hash", daemon=True)
        self._thread.start()

    def value(self) -> str:
        """The hash in hexadecimal; empty where the files could not be read."""
        self._thread.join()
        return self._value

    def _compute(self, folder: Path) -> None:
        try:
            self._value = weight_files.sha256(folder)
        except (OSError, ModelError):
            self._value = ""
