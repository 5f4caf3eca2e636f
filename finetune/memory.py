"""What a training takes, before it begins: refused with a sentence that says what would fit."""

import resource

import torch

from assistant.engine import placement
from assistant.errors import TrainingRefused
from finetune.config import TrainConfig
from finetune.model import Base, precision_of
from finetune.plan import Shape

PROGRAM_BYTES = 600_000_000
"""torch and transformers themselves."""


def expected_bytes(base: Base, config: TrainConfig, shape: Shape, device: torch.device) -> int:
    """Weights, gradients, the optimiser's moments, activations and logits of one forward and backward pass."""
    text = base.config.get_text_config(decoder=True)
    number = precision_of(config.precision, device).itemsize
    parameters = base.parameters
    width, layers = int(text.hidden_size), int(text.num_hidden_layers)
    inner = int(getattr(text, "intermediate_size", 0) or 4 * width)
    if config.changes_base:
        share = 1.0 if config.method == "full" else min(1.0, config.layers / layers)
        weights = int(parameters * (4 + number * (number < 4) + 12 * share))
    else:
        weights = parameters * number + 16 * config.rank * layers * (8 * width + 3 * inner)
    tokens = shape.block_tokens * shape.blocks_at_once
    kept = 2 if config.checkpointing else 10 * width + 4 * inner
    activations = tokens * layers * (kept if not config.checkpointing else kept * width) * number
    logits = 3 * 4 * min(tokens, 1024) * int(text.vocab_size)
    return int(weights + activations + logits + (PROGRAM_BYTES if device.type == "cpu" else 0))


def refuse_too_large(base: Base, config: TrainConfig, shape: Shape, device: torch.device) -> None:
    """Raise `TrainingRefused` where the free memory can't hold it."""
    needed, free = expected_bytes(base, config, shape, device), placement.free_bytes(device)
    if needed <= free:
        return
    advice = []
    if config.changes_base:
        advice.append("--method lora")
    if not config.checkpointing:
        advice.append("--checkpointing")
    if shape.blocks_at_once > 1:
        advice.append(f"--tokens-at-once {shape.block_tokens}")
    raise TrainingRefused(
        f"This training takes about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. "
        f"Try {', '.join(advice) or 'a smaller model'}{' or a smaller model' if advice else ''}."
    )


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has taken so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
