"""Weights that were quantised here, kept in the cache folder where that took long: 24 s for a billion of them."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from assistant.engine.formats.gguf import stamp
from assistant.engine.networks.llama.blocks import Blocks
from assistant.engine.networks.llama.model import Weights

FORM = 1
"""Raised whenever other blocks come out of the same weights."""
WORTH_S = 1.0
"""Seconds of quantising from which a second copy of the weights on the disk is worth it."""
ABANDONED_S = 3600.0
"""Seconds after which a file that was begun belongs to nobody: its process was killed."""


def weights(
    store: Path, sources: Sequence[Path], precision: str, device: torch.device, make: Callable[[], Weights]
) -> Weights:
    """What `make` made of the files `sources`, now or in an earlier process. `store` is the folder that it is kept in.

    A store that can't be read or written does no harm.
    """
    stamps = json.dumps([FORM, [[str(file.resolve()), *stamp(file)] for file in sources]])
    file = store / f"{hashlib.sha256(str(sources[0].resolve()).encode()).hexdigest()[:16]}-{precision}.safetensors"
    with suppress(OSError, SafetensorError, KeyError, ValueError):
        return _read(file, stamps, device)
    began_s = time.perf_counter()
    made = make()
    if time.perf_counter() - began_s >= WORTH_S:
        with suppress(OSError, SafetensorError):
            _write(file, stamps, made)
    return made


def _read(file: Path, stamps: str, device: torch.device) -> Weights:
    """Raises `ValueError` where it was made of other files."""
    found: dict[str, Tensor | Blocks] = {}
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata() or {}
        if about.get("sources") != stamps:
            raise ValueError("made of other files")
        kinds = json.loads(about["kinds"])
        for name in opened.keys():  # noqa: SIM118
            tensor = opened.get_tensor(name)
            found[name] = Blocks(kinds[name], tensor).to(device) if name in kinds else tensor.to(device, copy=True)
    return found


def _write(file: Path, stamps: str, made: Weights) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_orphans(file.parent)
    tensors = {name: (one.rows if isinstance(one, Blocks) else one).cpu().contiguous() for name, one in made.items()}
    kinds = {name: one.kind for name, one in made.items() if isinstance(one, Blocks)}
    temporary = file.with_suffix(f".{os.getpid()}.part")
    try:
        save_file(tensors, temporary, metadata={"sources": stamps, "kinds": json.dumps(kinds)})
        temporary.chmod(0o600)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_orphans(store: Path) -> None:
    """Delete what was made of models that are gone, and what was never finished."""
    for file in store.glob("*.part"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > ABANDONED_S:
                file.unlink()
    for file in store.glob("*.safetensors"):
        with suppress(OSError, SafetensorError, KeyError, ValueError), safe_open(file, framework="pt") as opened:
            _, sources = json.loads((opened.metadata() or {})["sources"])
            if not all(Path(path).exists() for path, *_ in sources):
                file.unlink()
