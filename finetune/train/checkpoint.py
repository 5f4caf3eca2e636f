"""A training's state on disk: written whole or not at all, read back bit for bit, never pickle.

    checkpoints/step-000120/state.safetensors   trained parameters and the optimiser's tensors
                            state.json          everything else, and that the folder is whole

A new checkpoint is complete, and on the disk, before an older one goes.
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
"""Checkpoints that stay: the previous one too, in case the last write was lost."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`parameters` by name, `optimizer` as `optimizer_state` gives it, `figures`: plain JSON."""

    step: int
    parameters: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    figures: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write it into `folder`. Raises `TrainingError` where that fails: what was there before is still whole."""
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
    """The last one that is whole; None where there is none."""
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
    """The tensors of an optimiser, named by the number of their parameter."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number} {name}": value if torch.is_tensor(value) else torch.tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def set_optimizer_state(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser of the same parameters the state that another one had."""
    table = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(" ")
        state.setdefault(int(number), {})[name] = value
    table["state"] = state
    optimizer.load_state_dict(table)


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
