"""Checkpoints of a training: written atomically, restored bitwise, without pickle.

    checkpoints/step-000120/state.safetensors   trained parameters and the optimiser's tensors
                            state.json          step and figures

A new checkpoint is complete and synced before an older one is deleted.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from finetune.whole_folder import whole_folder

TENSORS, TABLE = "state.safetensors", "state.json"
KEPT = 2
"""Checkpoints to keep; the previous checkpoint is kept in case the last write was lost."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`parameters` by name, `optimizer` as `optimizer_state` returns it, `figures`: plain JSON."""

    step: int
    parameters: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    figures: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into `folder`. Raises `TrainingError` on failure; earlier checkpoints are unchanged then."""
    target = folder / f"step-{checkpoint.step:09d}"
    tensors = {f"parameter {name}": one for name, one in checkpoint.parameters.items()}
    tensors |= {f"optimizer {name}": one for name, one in checkpoint.optimizer.items()}
    table = {"step": checkpoint.step, "figures": dict(checkpoint.figures)}
    with whole_folder(target) as new:
        save_file({name: one.detach().cpu().contiguous() for name, one in tensors.items()}, new / TENSORS)
        (new / TABLE).write_text(json.dumps(table), encoding="utf-8")
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest(folder: Path) -> Checkpoint | None:
    """The last readable checkpoint; None without one."""
    for one in reversed(_all(folder)):
        with suppress(OSError, ValueError, KeyError, SafetensorError):
            table = json.loads((one / TABLE).read_text(encoding="utf-8"))
            tensors = load_file(one / TENSORS)
            parts: dict[str, dict[str, Tensor]] = {"parameter": {}, "optimizer": {}}
            for name, tensor in tensors.items():
                kind, _, rest = name.partition(" ")
                parts[kind][rest] = tensor
            return Checkpoint(table["step"], parts["parameter"], parts["optimizer"], table["figures"])
    return None


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's tensors, named by parameter index and state name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number} {name}": value if torch.is_tensor(value) else torch.tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def set_optimizer_state(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the tensors of `optimizer_state` into an optimiser of the same parameters."""
    table = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(" ")
        state.setdefault(int(number), {})[name] = value
    table["state"] = state
    optimizer.load_state_dict(table)


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
