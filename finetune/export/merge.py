"""What a run has come to, as one model: the adapter added into its base, or the base with the weights it trained.

Merging is done in float32, so that the sum is rounded once, when it is stored.
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
"""Methods that train tokens before the prompt, not weights: nothing can be added into the base."""


def adapted(base: Base, folder: Path, device: torch.device) -> Any:
    """The model of a run in float32: PEFT's around its base, or the base itself where its own weights were trained.

    `folder`: the adapter, or `best` of the run's folder. Raises `TrainingRefused` where they don't fit each other, or
    not the memory.
    """
    needed, free = 4 * base.parameters, placement.free_bytes(device)
    if needed > free:
        raise TrainingRefused(
            f"Merging takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Close other programs, or take "
            "--format peft."
        )
    model = base.load(torch.float32, device)
    try:
        if (folder / CHANGED).is_file():
            return _changed(model, folder / CHANGED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of transformers, about what PEFT asks it
            return PeftModel.from_pretrained(model, str(folder)).eval()
    except (ValueError, KeyError, RuntimeError, OSError, SafetensorError) as error:
        raise TrainingRefused(f"What was trained, in {folder}, doesn't fit the model: {error}") from error


def merged(model: Any) -> Any:
    """Transformers' model alone, with what `adapted` had beside it added in. The model given is used up."""
    if not isinstance(model, PeftModel):
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.merge_and_unload()


def rounded(model: Any, dtype: torch.dtype) -> Any:
    """The model in `dtype`. Raises `TrainingRefused` for a weight that is larger than float16 can say."""
    largest = max(float(one.detach().abs().max()) for one in model.parameters())
    if largest > torch.finfo(dtype).max:
        raise TrainingRefused(f"A weight of {largest:.3g} is more than {dtype} can say. Take --dtype bfloat16.")
    return model.to(dtype)


def _changed(model: Any, file: Path) -> Any:
    tensors = load_file(file)
    unknown = sorted(tensors.keys() - model.state_dict().keys())
    if unknown:
        raise KeyError(f"{file.name} holds {unknown[0]}")
    model.load_state_dict(tensors, strict=False)
    return model
