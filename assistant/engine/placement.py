"""Where a model runs and in which precision, decided before a byte of it is read."""

from dataclasses import dataclass
from typing import Any

import torch

from assistant.engine.catalogue import CATALOGUE
from assistant.errors import ModelError, ModelTooLarge

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WORK = 1.1
"""Memory beside the weights, as a factor: activations and a tensor that is being converted."""
CACHE_SHARE = 0.6
"""Share of the memory left after the weights that a full context's KV cache may take."""
LEAST_CONTEXT_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, a precision, and the bytes that were free on the device."""

    device: torch.device
    dtype: torch.dtype
    free_bytes: int


def place(parameters: int, device: str, dtype: str) -> Placement:
    """Where a model of so many parameters goes. `auto` device: a GPU that holds it, else the CPU.

    `auto` dtype: bfloat16 on a GPU and on a CPU that multiplies it in hardware (AMX, AVX512-BF16), else float32 as
    long as memory allows. Raises `ModelTooLarge` where nothing fits, `ModelError` for names that mean nothing.
    """
    devices = _devices(device)
    for one in devices:
        free = free_bytes(one)
        for precision in _dtypes(one, dtype):
            if _needed_bytes(parameters, precision) <= free:
                return Placement(one, precision, free)
    last = devices[-1]
    raise ModelTooLarge(_too_large(parameters, last, _dtypes(last, dtype)[-1]))


def context_tokens(config: Any, parameters: int, at: Placement) -> int:
    """The model's context, or as much of it as has room: a full KV cache must fit beside the weights."""
    text = config.get_text_config(decoder=True)
    trained = int(getattr(text, "max_position_embeddings", None) or 4096)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    token_bytes = 2 * text.num_hidden_layers * heads * head_dim * at.dtype.itemsize
    left = at.free_bytes - _needed_bytes(parameters, at.dtype)
    return min(trained, max(LEAST_CONTEXT_TOKENS, int(left * CACHE_SHARE) // int(token_bytes)))


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _devices(name: str) -> list[torch.device]:
    if name == "auto":
        return [torch.device(one) for one in ("cuda", "cpu") if one == "cpu" or torch.cuda.is_available()]
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(
            f"This machine has no device {name!r} that torch can use. Set engine.device to auto or cpu."
        ) from error
    return [device]


def _dtypes(device: torch.device, name: str) -> list[torch.dtype]:
    """What to try, best first."""
    if name in DTYPES:
        return [DTYPES[name]]
    if name != "auto":
        raise ModelError(f"engine.dtype is {name!r}, but must be auto or one of {', '.join(DTYPES)}.")
    if device.type != "cpu" or _multiplies_bfloat16():
        return [torch.bfloat16]
    return [torch.float32, torch.bfloat16]


def _multiplies_bfloat16() -> bool:
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def _needed_bytes(parameters: int, dtype: torch.dtype) -> int:
    return int(parameters * dtype.itemsize * WORK)


def _too_large(parameters: int, device: torch.device, dtype: torch.dtype) -> str:
    free, needed = free_bytes(device), _needed_bytes(parameters, dtype)
    smaller = [model for model in CATALOGUE if _needed_bytes(model.parameters, dtype) <= free]
    advice = "Close other programs or choose a smaller model"
    if smaller:
        advice += f", such as {max(smaller, key=lambda model: model.parameters).name}"
    name = str(dtype).removeprefix("torch.")
    return (
        f"The model needs {needed / 1e9:.1f} GB of memory in {name}, but {free / 1e9:.1f} GB are free on {device}. "
        f"{advice}."
    )
