"""Merge a run into one model: base plus adapter, or the base with its changed weights.

Merging is done in float32, so that weights are rounded only once, when stored.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from assistant.adapters.folder import CHANGED
from assistant.engine.hardware import placement
from assistant.errors import TrainingRefused
from finetune.base import Base

VIRTUAL = ("prefix", "prompt")
"""Methods that train virtual tokens and change no weights, so that nothing can be merged."""


def adapted(base: Base, folder: Path, device: torch.device) -> Any:
    """The model of a run in float32: PEFT's around its base, or the base with changed weights.

    `folder`: of the adapter or the changed weights. Raises `TrainingRefused` if it doesn't fit the base or the memory.
    """
    needed, free = 4 * base.parameters, placement.free_bytes(device)
    if needed > free:
        raise TrainingRefused(
            f"Merging takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Close other programs, or use "
            "--format peft."
        )
    model = base.load(torch.float32, device)
    try:
        if (folder / CHANGED).is_file():
            return _changed(model, folder / CHANGED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # transformers' warnings about PEFT's use of it
            return PeftModel.from_pretrained(model, str(folder)).eval()
    except (ValueError, KeyError, RuntimeError, OSError, SafetensorError) as error:
        raise TrainingRefused(f"The trained weights in {folder} don't fit the model: {error}") from error


def merged(model: Any) -> Any:
    """Transformers' model with the adapter of `adapted` merged in; `model` is consumed."""
    if not isinstance(model, PeftModel):
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.merge_and_unload()


def rounded(model: Any, dtype: torch.dtype) -> Any:
    """The model in `dtype`. Raises `TrainingRefused` if a weight exceeds its range."""
    largest = max(float(one.detach().abs().max()) for one in model.parameters())
    if largest > torch.finfo(dtype).max:
        raise TrainingRefused(f"A weight of {largest:.3g} exceeds the range of {dtype}. Use --dtype bfloat16.")
    return model.to(dtype)


def _changed(model: Any, file: Path) -> Any:
    tensors = load_file(file)
    unknown = sorted(tensors.keys() - model.state_dict().keys())
    if unknown:
        raise KeyError(f"{file.name} holds {unknown[0]}")
    model.load_state_dict(tensors, strict=False)
    return model
