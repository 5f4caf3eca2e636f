"""A run's folder, the file that asks a running training to pause or stop, and the lock against a second training."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assistant.errors import TrainingRefused
from assistant.locks import held
from assistant.paths import Paths

PAUSE, STOP = "pause", "stop"


class RunFolder:
    """`data/runs/NAME`."""

    def __init__(self, paths: Paths, name: str) -> None:
        self.path = paths.runs / name
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best"
        """Adapter with the lowest validation loss."""
        self.reference = self.path / "reference.safetensors"
        """The base's log-probabilities of the examples, for objectives that compare with the base."""
        self.replay = self.path / "replay.safetensors"
        """Soft targets of replayed examples, for a training that starts from an adapter."""

    def create(self) -> "RunFolder":
        """Create the folder, readable by its owner only."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    @property
    def wanted(self) -> str:
        """What was asked of the training: `pause`, `stop`, or empty: go on."""
        with suppress(OSError):
            return (self.path / "wanted").read_text(encoding="utf-8").strip()
        return ""

    def want(self, what: str) -> None:
        """Ask a running training to `pause` or `stop`; empty: to go on."""
        file = self.path / "wanted"
        if what:
            file.write_text(what, encoding="utf-8")
        else:
            file.unlink(missing_ok=True)


@contextmanager
def only_training(paths: Paths) -> Iterator[None]:
    """Hold the training lock. Raises `TrainingRefused` if another training holds it."""
    with held(_lock_file(paths)) as free:
        if not free:
            raise TrainingRefused(
                "A training is running already, and two would only slow each other down. Wait for it, or stop it "
                "in the Train screen (F7 in the chat), or with Ctrl-C where it runs."
            )
        yield


def is_training(paths: Paths) -> bool:
    """Whether a training is running, in any process."""
    with held(_lock_file(paths), shared=True) as free:
        return not free


def _lock_file(paths: Paths) -> Path:
    return paths.runs / "training.lock"


def lower_priority() -> None:
    """Lower this process's priority, so that the chat and other programs stay responsive."""
    with suppress(OSError, AttributeError):
        os.nice(10)
