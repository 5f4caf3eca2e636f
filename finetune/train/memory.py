"""Estimate a training's memory, and refuse it with advice if it doesn't fit."""

import contextlib
import resource
from pathlib import Path

import torch

from assistant.engine.hardware import placement
from assistant.errors import TrainingRefused
from finetune.base import Base
from finetune.config import TrainConfig
from finetune.network import llama
from finetune.network.head import AT_ONCE
from finetune.network.trainee import precision_of
from finetune.plan import Shape

PROGRAM_BYTES = 700_000_000
"""Memory of torch, transformers and their dependencies; measured with torch 2.13 and transformers 5.17 on Linux."""

HEAP = 1.45
"""Heap memory for each byte of activations: batches of different sizes fragment the C library's heap."""
LEAST_TOKENS = 512
"""Tokens of a forward pass to suggest if memory is short."""


def expected_bytes(base: Base, config: TrainConfig, shape: Shape, device: torch.device) -> int:
    """Estimated bytes of weights, gradients, optimiser state, and the activations of one forward pass."""
    text = base.config.get_text_config(decoder=True)
    number = precision_of(config.precision, device).itemsize
    width, layers = int(text.hidden_size), int(text.num_hidden_layers)
    inner = int(getattr(text, "intermediate_size", 0) or 4 * width)
    heads = width * (1 + 2 * int(getattr(text, "num_key_value_heads", 1) or 1) / int(text.num_attention_heads))
    if config.changes_base:
        share = 1.0 if config.method == "full" else min(1.0, config.layers / layers)
        weights = base.parameters * (4 + number * (number < 4) + 12 * share)
    else:
        weights = base.parameters * number + 16 * config.rank * layers * (8 * width + 3 * inner)
    if llama.computes(base.config, config):
        layer = HEAP * number * (3 * width + heads + 2 * inner)
    else:  # transformers' layers, with PEFT's activations in float32
        layer = 4 * (12 * width + 8 * inner) * (1 if config.changes_base else 2)
    kept = number * width * layers + layer if config.checkpointing else layers * layer
    passing = number * (6 * inner + 6 * width)
    logits = 2 * number * AT_ONCE * int(text.vocab_size)
    activations = shape.batch_tokens * (kept + passing)
    return int(weights + activations + logits + (PROGRAM_BYTES if device.type == "cpu" else 0))


def refuse_too_large(base: Base, config: TrainConfig, shape: Shape, device: torch.device) -> None:
    """Raise `TrainingRefused` if the free memory is too small."""
    needed, free = expected_bytes(base, config, shape, device), placement.free_bytes(device)
    if needed <= free:
        return
    advice = []
    if config.changes_base:
        advice.append("--method lora")
    if not config.checkpointing:
        advice.append("--checkpointing")
    if shape.batch_tokens > LEAST_TOKENS:
        advice.append(f"--tokens-at-once {LEAST_TOKENS} --block-tokens {LEAST_TOKENS}")
    raise TrainingRefused(
        f"This training takes about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. "
        f"Try {', '.join(advice) or 'a smaller model'}{' or a smaller model' if advice else ''}."
    )


def peak_bytes(device: torch.device) -> int:
    """Peak memory of this process so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError, StopIteration):  # getrusage would include the parent's memory before exec
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
