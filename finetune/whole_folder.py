"""Replace a folder atomically: after a kill at any moment the old or the new folder is there, complete."""

import ctypes
import os
import shutil
from pathlib import Path

from safetensors import SafetensorError

from assistant.errors import TrainingError


class whole_folder:  # noqa: N801 - used as a function
    """Context manager: fill a new folder beside `target`, then sync it and swap it in.

    Raises `TrainingError` if the folder can't be written; `target` is unchanged then.
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
    """Rename back the folder that a killed replacement moved aside, on file systems without an atomic exchange."""
    if _aside(target).is_dir() and not target.exists():
        _aside(target).rename(target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two folders were exchanged atomically, by Linux's renameat2 or macOS's renamex_np.

    False if the system or the file system doesn't support it; nothing has changed then.
    """
    library, paths = ctypes.CDLL(None, use_errno=True), [os.fsencode(path) for path in (one, other)]
    if hasattr(library, "renameat2"):
        return bool(library.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], EXCHANGE) == 0)
    if hasattr(library, "renamex_np"):
        return bool(library.renamex_np(*paths, EXCHANGE) == 0)
    return False


AT_FDCWD, EXCHANGE = -100, 2


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows can't open a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(target: Path, error: BaseException) -> TrainingError:
    return TrainingError(
        f"{target} can't be written: {error}. The earlier version is unchanged; free some space and resume the run."
    )
