"""After teaching: keep the adapter, which is then in use, or drop it, so that nothing of it remains."""

import shutil

from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters as registry
from assistant.store.training import datasets, runs
from assistant.store.training.runs import Run
from finetune.prove import promote
from finetune.prove.promote import Promoted
from finetune.run_folder import RunFolder
from finetune.teach.corrections import is_taught


def keep(db: Database, paths: Paths, name: str) -> Promoted:
    """Use the adapter of a run that taught for new replies from now on. `finetune rollback` takes it back.

    Raises `TrainingRefused` where it can't be used, or another adapter has come into use since it was taught.
    """
    run = _taught(db, name)
    now, start = registry.in_use(db, run.model), (run.config.get("start") or {}).get("sha256", "")
    if now is not None and now.hash not in (start, run.adapter_hash):
        raise TrainingRefused(
            f"{now.name} came into use after {name} was taught, and {name} doesn't know what it learned. Teach again, "
            f"or use {name} all the same: `finetune promote {name} --anyway`."
        )
    return promote.promote(db, paths, name, anyway=True)


def drop(db: Database, paths: Paths, name: str) -> str:
    """Delete a run that taught, with its dataset, its files and its adapter; the name of its model.

    Raises `TrainingRefused` where the adapter is in use.
    """
    run = _taught(db, name)
    adapter = registry.find(db, run.adapter_hash) if run.adapter_hash else registry.find(db, run.name)
    now = registry.in_use(db, run.model)
    if adapter is not None and now is not None and now.hash == adapter.hash:
        raise TrainingRefused(f"{name} is in use. Take it back first: `finetune rollback -m {run.model}`.")
    if adapter is not None and adapter.run_id == run.id:
        registry.remove(db, adapter.hash)
    shutil.rmtree(paths.adapters / run.name, ignore_errors=True)
    shutil.rmtree(RunFolder(paths, run.name).path, ignore_errors=True)
    dataset = datasets.by_id(db, run.dataset_id)
    runs.delete(db, run.name)
    if dataset is not None:
        datasets.delete(db, dataset.name)
    return run.model


def clean(db: Database, paths: Paths) -> None:
    """Drop what a killed teaching left. Call it while no training runs."""
    for run in runs.every(db):
        if is_taught(run) and run.state != "finished":
            drop(db, paths, run.name)


def _taught(db: Database, name: str) -> Run:
    run = runs.get(db, name)
    if not is_taught(run):
        raise TrainingRefused(f"{name} was trained on a dataset, not taught. `finetune promote {name}` uses it.")
    return run
