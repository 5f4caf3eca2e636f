"""A folder replaced by another in one step: killed at any moment, one of the two is there, and whole."""

import ctypes
import os
import shutil
from pathlib import Path

from safetensors import SafetensorError

from assistant.errors import TrainingError


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
