"""GGUF files of architectures that only transformers knows -> a Hugging Face folder, unpacked."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from assistant.engine.formats import gguf_config
from assistant.engine.formats.gguf_header import Tensor, whole
from assistant.errors import ModelIncomplete, ModelTooLarge, ModelUnsupported
from assistant.events import Loading

WIDE = {"F32", "F16"}
"""Types that bfloat16 would round; all others have fewer bits."""
UNPACKED_BYTES = 4
"""Of a weight while transformers reads a file: it unpacks all of them to float32 first."""


def convert(
    file: Path,
    metadata: Mapping[str, Any],
    tensors: Sequence[Tensor],
    weights: Path,
    progress: Callable[[Loading], None],
) -> None:
    """Write the file `weights`, and configuration and tokenizer beside it.

    Weights are bfloat16, or float32 where `file` has 16 or 32 bits.

    Raises `ModelTooLarge` before anything is unpacked where there isn't the memory for that, `ModelUnsupported` for an
    architecture that transformers can't read, `ModelIncomplete` for a file whose layers aren't those that it says.
    """
    architecture = metadata["general.architecture"]
    _check_layers(metadata, architecture, [tensor.name for tensor in tensors])
    wide = any(tensor.kind in WIDE for tensor in tensors if len(tensor.shape) > 1)
    needed = sum(math.prod(tensor.shape) for tensor in tensors) * (UNPACKED_BYTES + (4 if wide else 2))
    _refuse_too_large(file, needed)
    stage = f"converting the GGUF file of architecture {architecture:.40}, which takes {needed / 1e9:.1f} GB of memory"
    progress(Loading(stage))
    _unpack(file, architecture, weights, wide)


def _check_layers(metadata: Mapping[str, Any], architecture: str, names: Sequence[str]) -> None:
    key, found = f"{architecture}.block_count", gguf_config.layers_of(names)
    if key in metadata and found and whole(metadata, key) > len(names):
        raise ModelIncomplete(
            f"The GGUF file is damaged: it says {metadata[key]:,} layers, but holds tensors of {len(found):,}. "
            "Get it again."
        )


def _refuse_too_large(file: Path, needed: int) -> None:
    import psutil

    free = psutil.virtual_memory().available
    if needed > free:
        raise ModelTooLarge(
            f"To unpack {file.name} takes {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free. "
            "Close other programs, or take a model of the Llama family, which stays as small as its file."
        )


def _unpack(file: Path, architecture: str, weights: Path, wide: bool) -> None:
    import torch
    from safetensors.torch import save_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, logging

    logging.set_verbosity_error()
    where = {"gguf_file": file.name, "local_files_only": True}
    plain = {"quantization_config": GgufConfig(dequantize=True)}
    dtype = torch.float32 if wide else torch.bfloat16
    try:
        with redirect_stderr(StringIO()):  # a progress bar that can't be turned off
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
            model = AutoModelForCausalLM.from_pretrained(file.parent, **where, dtype=dtype, **plain)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever it makes of an architecture or a header that it doesn't know
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelUnsupported(
            f"{file.name} is of architecture {architecture!r:.40}, which can't be read from GGUF: {reason:.300}. "
            "Use the model's original folder with safetensors."
        ) from error
    for one in (tokenizer, model.config, model.generation_config):
        one.save_pretrained(weights.parent)
    save_model(model, str(weights), metadata={"format": "pt"})
