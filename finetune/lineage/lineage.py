"""The lineage of an adapter: which adapter it started from, and which datasets were learned on the way.

A run and its adapter store the lineage as plain JSON, so that it is known after earlier runs and adapters were deleted.
Loads no torch: the Train screen asks what the next training can start from.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlite_utils import Database

from assistant.adapters.configs import LoraConfig
from assistant.adapters.folder import AdapterFolder, trouble
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.adapters import StoredAdapter
from assistant.store.training.datasets import Dataset
from finetune.config import TrainConfig

BASE, IN_USE = "base", "in-use"
"""Values of `--from` in addition to names of adapters."""
FIXED = ("method", "rank", "alpha", "targets")
"""Settings of a low-rank adapter that further training can't change."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A dataset that was learned, and may have been deleted since."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Start:
    """The adapter that a training starts from. `datasets`: all datasets it learned, the newest first."""

    adapter: str
    sha256: str
    datasets: tuple[Learned, ...] = ()

    @classmethod
    def of(cls, adapter: StoredAdapter) -> "Start":
        """Read from the lineage stored with the adapter."""
        last, before = adapter.lineage.get("dataset"), cls.from_json(adapter.lineage.get("start"))
        known = ([Learned(**last)] if last else []) + list(before.datasets if before else ())
        return cls(adapter.name, adapter.hash, tuple(dict.fromkeys(known)))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any] | None) -> "Start | None":
        """Read what `as_json` wrote; None for a training from the base."""
        if not fields:
            return None
        return cls(fields["adapter"], fields["sha256"], tuple(Learned(**one) for one in fields["datasets"]))

    def as_json(self) -> dict[str, Any]:
        """The start as plain JSON."""
        listed = [{"name": one.name, "sha256": one.sha256} for one in self.datasets]
        return {"adapter": self.adapter, "sha256": self.sha256, "datasets": listed}

    def behind(self, db: Database) -> tuple[list[Dataset], list[str]]:
        """(datasets that are still in the log, names of deleted ones), the newest first."""
        found = {one: datasets.by_hash(db, one.sha256, one.name) for one in self.datasets}
        return [one for one in found.values() if one], [one.name for one, dataset in found.items() if not dataset]


def start_of(db: Database, paths: Paths, model: str, wanted: str) -> Start | None:
    """Resolve `--from`: `base`, `in-use`, or an adapter by name or hash. None: the base.

    Raises `TrainingRefused` for an adapter that can't be trained further.
    """
    if wanted == BASE:
        return None
    adapter = adapters.in_use(db, model) if wanted == IN_USE else named(db, wanted)
    if adapter is None:
        return None
    if adapter.model != model:
        raise TrainingRefused(
            f"{adapter.name} is an adapter of {adapter.model} and can't be trained on {model}. Give --model "
            f"{adapter.model}, or --from {BASE}."
        )
    if refused := refusal(paths, adapter):
        raise TrainingRefused(f"{refused} To start from the base: --from {BASE}.")
    return Start.of(adapter)


def refusal(paths: Paths, adapter: StoredAdapter) -> str:
    """Why an adapter can't be trained further, as a sentence; empty if it can."""
    folder = paths.adapters / adapter.name
    if wrong := trouble(folder, adapter.hash):
        return f"{adapter.name} can't be trained further: {wrong}"
    opened = AdapterFolder.open(folder)
    if not isinstance(opened.config, LoraConfig):
        return f"{adapter.name} can't be trained further: only low-rank adapters can, and its kind is {opened.kind}."
    return ""


def to_go_on_from(db: Database, paths: Paths, model: str) -> str:
    """Name of the adapter in use for a model, if it can be trained further; else empty."""
    adapter = adapters.in_use(db, model)
    return adapter.name if adapter and not refusal(paths, adapter) else ""


def named(db: Database, name: str) -> StoredAdapter:
    """The adapter with that run, folder or hash. Raises `TrainingRefused` if there is none."""
    run = runs.find(db, name)
    if run is not None and not run.adapter_hash:
        old = run.state == "finished" and "weights" in run.result
        raise TrainingRefused(
            f"{name} was trained by an earlier version, which saved changed weights for export only: "
            f"`finetune export {name}`, or train again to chat with it."
            if old
            else f"{name} has no adapter: it is {run.state}."
        )
    adapter = adapters.find(db, run.adapter_hash if run else name)
    if adapter is None:
        known = ", ".join(one.name for one in adapters.every(db)[:8]) or "none"
        raise TrainingRefused(f"There is no adapter {name!r}. There are: {known}.")
    return adapter


def settings(db: Database, paths: Paths, start: Start, config: TrainConfig, given: Collection[str] = ()) -> TrainConfig:
    """`config` with the settings that further training can't change, taken from the adapter.

    `given`: names of settings that were set explicitly. Raises `TrainingRefused` if one of these contradicts the
    adapter.
    """
    kept = replace(config, **_fixed(db, paths, start))
    for name in FIXED:
        was, wanted = getattr(kept, name), getattr(config, name)
        if name in given and wanted != was:
            raise TrainingRefused(
                f"{start.adapter} has {name} {_shown(was)}, which further training can't change to {_shown(wanted)}. "
                f"Leave --{name} out, or train from the base with --from {BASE}."
            )
    return kept


def _fixed(db: Database, paths: Paths, start: Start) -> dict[str, Any]:
    config = AdapterFolder.open(paths.adapters / start.adapter).config
    assert isinstance(config, LoraConfig)
    method = "dora" if config.use_dora else "rslora" if config.use_rslora else "lora"
    adapter = adapters.find(db, start.sha256)
    asked = adapter.lineage.get("settings", {}).get("targets") if adapter else None
    targets = config.target_modules if asked is None else asked
    listed = (targets,) if isinstance(targets, str) else tuple(sorted(targets or ()))
    return {"method": method, "rank": config.r, "alpha": float(config.lora_alpha), "targets": listed}


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "of all linears"
    return f"{value:g}" if isinstance(value, float) else str(value)
