"""A run's folder, the file that tells a running training what is wanted of it, and the lock that lets one train."""

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
        """The adapter with the lowest validation loss."""
        self.reference = self.path / "reference.safetensors"
        """What the base thinks of the examples, where the loss compares with it."""
        self.replay = self.path / "replay.safetensors"
        """Soft targets of what is replayed, in a training that goes on from an adapter."""

    def create(self) -> "RunFolder":
        """Make it, readable by its owner alone."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    @property
    def wanted(self) -> str:
        """`pause`, `stop`, or empty: go on."""
        with suppress(OSError):
            return (self.path / "wanted").read_text(encoding="utf-8").strip()
        return ""

    def want(self, what: str) -> None:
        """Ask a running training to pause or to stop; empty: to go on."""
        file = self.path / "wanted"
        if what:
            file.write_text(what, encoding="utf-8")
        else:
            file.unlink(missing_ok=True)


@contextmanager
def only_training(paths: Paths) -> Iterator[None]:
    """While it lasts no other training begins. Raises `TrainingRefused` where one goes on already."""
    with held(_lock_file(paths)) as free:
        if not free:
            raise TrainingRefused(
                "A training goes on already, and two would only slow each other down. Wait for it, or stop it "
                "in the Train screen (F7 in the chat), or with Ctrl-C where it runs."
            )
        yield


def is_training(paths: Paths) -> bool:
    """Whether a training goes on in this moment, in whatever process."""
    with held(_lock_file(paths), shared=True) as free:
        return not free


def _lock_file(paths: Paths) -> Path:
    return paths.runs / "training.lock"


def lower_priority() -> None:
    """Let a chat, and whatever else the person does, come first."""
    with suppress(OSError, AttributeError):
        os.nice(10)
