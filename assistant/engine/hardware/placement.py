"""Where a model runs and in which precision, decided before a byte of it is read."""

from dataclasses import dataclass
from typing import Any

import torch

from assistant.engine.models.catalogue import CATALOGUE
from assistant.errors import ModelError, ModelTooLarge

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 34 / 32, "int4": 20 / 32}
"""Of one weight in each precision that can be asked for; int8 and int4 with their scales, one for 32 weights."""
WORK = 1.1
"""Memory beside the weights, as a factor: activations and a tensor that is being converted."""
CACHE_SHARE = 0.6
"""Share of the memory left after the weights that a full context's KV cache may take."""
LEAST_CONTEXT_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Stored:
    """Weights as they lie on disk."""

    parameters: int
    bytes: int
    precision: str
    """A name of `DTYPES`, or `blocks` for those of a GGUF file."""
    own_forward: bool
    """Whether they are of the Llama family, for which there are int8 and int4."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, a precision, and the bytes that were free on the device."""

    device: torch.device
    precision: str
    """A name of `WEIGHT_BYTES`."""
    free_bytes: int

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in, and what weights that aren't quantised are kept in."""
        wide = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        return DTYPES.get(self.precision, wide)


def place(stored: Stored, device: str, dtype: str) -> Placement:
    """Where a model goes, and in which precision. `auto` device: a GPU that holds it, else the CPU.

    `auto` precision is the best that fits of these. On a GPU bfloat16, int8, int4. On a CPU what a GGUF's blocks have,
    or bfloat16 where the weights have no more or the CPU multiplies it in hardware, else float32; then bfloat16, int8,
    int4. Raises `ModelTooLarge` where nothing fits, `ModelError` for names that mean nothing.
    """
    devices = _devices(device)
    for one in devices:
        free = free_bytes(one)
        for precision in _precisions(one, dtype, stored):
            if _needed_bytes(stored, precision) <= free:
                return Placement(one, precision, free)
    last = devices[-1]
    raise ModelTooLarge(_too_large(stored, last, _precisions(last, dtype, stored)[-1]))


def context_tokens(config: Any, stored: Stored, at: Placement) -> int:
    """The model's context, or as much of it as has room: a full KV cache must fit beside the weights."""
    text = config.get_text_config(decoder=True)
    trained = int(getattr(text, "max_position_embeddings", None) or 4096)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    number_bytes = 2 if stored.own_forward else at.dtype.itemsize
    token_bytes = 2 * text.num_hidden_layers * heads * head_dim * number_bytes
    left = at.free_bytes - _needed_bytes(stored, at.precision)
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


def _precisions(device: torch.device, name: str, stored: Stored) -> list[str]:
    """What to try, best first."""
    small = ["int8", "int4"] if stored.own_forward else []
    if name in WEIGHT_BYTES:
        if name in ("int8", "int4") and not small:
            raise ModelError(
                f"engine.dtype is {name}, which only models of the Llama family can have. Set it to auto or bfloat16."
            )
        return [name]
    if name != "auto":
        raise ModelError(f"engine.dtype is {name!r}, but must be auto or one of {', '.join(WEIGHT_BYTES)}.")
    if device.type != "cpu":
        return ["bfloat16", *small]
    if stored.precision == "blocks" and small:
        return small
    if (stored.precision == "bfloat16" and small) or _multiplies_bfloat16():
        return ["bfloat16", *small]
    return ["float32", "bfloat16", *small]


def _multiplies_bfloat16() -> bool:
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def _needed_bytes(stored: Stored, precision: str) -> int:
    """In memory. Blocks of a GGUF stay what they are where they have no more bits than is asked for."""
    needed = stored.parameters * WEIGHT_BYTES[precision]
    if stored.precision == "blocks" and precision == "int8":
        needed = min(needed, stored.bytes)
    return int(needed * WORK)


def _too_large(stored: Stored, device: torch.device, precision: str) -> str:
    free, needed = free_bytes(device), _needed_bytes(stored, precision)
    fitting = [one for one in _offered(stored) if _needed_bytes(stored, one) <= free]
    smaller = [model for model in CATALOGUE if model.parameters * WEIGHT_BYTES[precision] * WORK <= free]
    advice = "Close other programs or choose a smaller model"
    if fitting:
        advice = f"In {fitting[0]} it fits: set engine.dtype to that"
    elif smaller:
        advice += f", such as {max(smaller, key=lambda model: model.parameters).name}"
    return (
        f"The model needs {needed / 1e9:.1f} GB of memory in {precision}, but {free / 1e9:.1f} GB are free on "
        f"{device}. {advice}."
    )


def _offered(stored: Stored) -> list[str]:
    return ["bfloat16", "int8", "int4"] if stored.own_forward else ["bfloat16"]
