"""Send a training's curves to TensorBoard and W&B, by accelerate's trackers.

Their packages are imported only when used.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from assistant.errors import TrainingRefused
from finetune.config import TrainConfig
from finetune.progress import Progress, Stepped, Validated, figures_of
from finetune.run_folder import RunFolder

PROJECT = "finetune"
"""W&B project."""
EXTRAS = {"tensorboard": "trackers", "wandb": "wandb"}
"""Extra of this package that installs each tracker."""


def refuse_missing(config: TrainConfig) -> None:
    """Raise `TrainingRefused` if a tracker's package isn't installed."""
    missing = [name for name in config.trackers if not _is_installed(name)]
    if missing:
        extras = ",".join(EXTRAS[name] for name in missing)
        raise TrainingRefused(
            f"--trackers {','.join(missing)} needs a package that isn't installed. "
            f"Run pip install 'assistant-loop[{extras}]', or train without it."
        )


def _is_installed(name: str) -> bool:
    spec = find_spec(name)
    return spec is not None and spec.origin is not None  # no origin: a folder of that name, as W&B creates


class Trackers:
    """The started trackers of a run, in the main process."""

    def __init__(self) -> None:
        self._started: list[Any] = []

    def log(self, progress: Progress) -> None:
        """Send steps and validation losses to the trackers; no-op before they are started."""
        if isinstance(progress, Stepped | Validated):
            for one in self._started:
                one.log(figures_of(progress), step=progress.step)

    @contextmanager
    def started(
        self, names: Sequence[str], folder: RunFolder, run: str, step: int, settings: Mapping[str, Any]
    ) -> Iterator[None]:
        """Start the trackers, with files in the run's folder; finish them at the end of the block.

        `step`: last finished step, 0 for a new run; a killed process's later points are purged. `settings`: stored
        once, for a new run.
        """
        with ExitStack() as stack:
            for name in names:
                tracker = _tracker(name, folder, run, step)
                tracker.start()
                stack.callback(tracker.finish)
                if not step:
                    tracker.store_init_configuration(_plain(settings))
                self._started.append(tracker)
            yield


def _tracker(name: str, folder: RunFolder, run: str, step: int) -> Any:
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    if name == "tensorboard":
        return TensorBoardTracker(name, folder.path, purge_step=step + 1)
    os.environ.setdefault("WANDB_MODE", "offline")
    quiet = {"silent": True, "console": "off", "disable_git": True, "save_code": False}
    return WandBTracker(PROJECT, dir=str(folder.path), id=run, name=run, resume="allow", settings=quiet)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flattened settings with numbers and strings only, as TensorBoard needs them."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": one for inner, one in _plain(value).items()}
        else:
            found[name] = value if isinstance(value, bool | int | float | str) else ", ".join(map(str, value))
    return found
