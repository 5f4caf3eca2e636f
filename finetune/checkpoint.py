"""A training's state on disk: written whole or not at all, read back bit for bit, never pickle.

    checkpoints/step-000120/state.safetensors   trained parameters and the optimiser's tensors
                            state.json          everything else, and that the folder is whole

A new checkpoint is complete, and on the disk, before an older one goes.
"""

import ctypes
import json
import os
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

from assistant.errors import TrainingError

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


class whole_folder:  # noqa: N801 - used as a function
    """A folder that is filled beside `target` and takes its place once it is on the disk, in one step.

    Killed at any moment, `target` is whole: as it was, or as it is to be.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._new = target.with_name(f".{target.name}.new")

    def __enter__(self) -> Path:
        try:
            restore(self._target)
            for left in (self._new, _aside(self._target)):
                shutil.rmtree(left, ignore_errors=True)
            self._new.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise _unwritable(self._target, error) from error
        return self._new

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            try:
                self._replace()
                return
            except OSError as failed:
                error = failed
        shutil.rmtree(self._new, ignore_errors=True)
        if isinstance(error, OSError | SafetensorError):
            raise _unwritable(self._target, error) from error

    def _replace(self) -> None:
        for file in self._new.rglob("*"):
            if file.is_file():
                file.chmod(0o600)
                _sync(file)
        _sync(self._new)
        if not self._target.exists():
            self._new.rename(self._target)
        elif not _exchanged(self._new, self._target):
            self._target.rename(_aside(self._target))
            self._new.rename(self._target)
        _sync(self._target.parent)
        for old in (self._new, _aside(self._target)):
            shutil.rmtree(old, ignore_errors=True)


def restore(target: Path) -> None:
    """Put back what was moved aside by a replacement that was killed, on a disk that can't exchange two folders."""
    if _aside(target).is_dir() and not target.exists():
        _aside(target).rename(target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two folders have each other's name now: in one step, by Linux's renameat2 or macOS's renamex_np.

    False where the system or the disk can't; then nothing has changed.
    """
    library, paths = ctypes.CDLL(None, use_errno=True), [os.fsencode(path) for path in (one, other)]
    if hasattr(library, "renameat2"):
        return bool(library.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], EXCHANGE) == 0)
    if hasattr(library, "renamex_np"):
        return bool(library.renamex_np(*paths, EXCHANGE) == 0)
    return False


AT_FDCWD, EXCHANGE = -100, 2


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


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # a folder can't be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(target: Path, error: BaseException) -> TrainingError:
    return TrainingError(
        f"{target} can't be written: {error}. What was saved before is still whole; free some room and resume the run."
    )
