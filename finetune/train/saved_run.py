"""Save the result of a training: the best adapter into the adapters' folder, its lineage into the log."""

from dataclasses import asdict
from typing import Any

from sqlite_utils import Database

from assistant.paths import Paths
from assistant.store.training import adapters as registry
from assistant.store.training import runs
from assistant.store.training.runs import Run
from finetune.data.tokens import sampled
from finetune.network import trainable
from finetune.progress import Advanced
from finetune.run_folder import RunFolder
from finetune.train import average
from finetune.train.trainer import Trainer
from finetune.train.training_data import TrainingData
from finetune.versions import made_with


def keep(
    db: Database, paths: Paths, run: Run, trainer: Trainer, folder: RunFolder, learned: TrainingData, reason: str
) -> None:
    """Save the best adapter, and register it with its lineage."""
    if not trainer.validation.examples:  # without validation the last weights are kept
        trainable.save(trainer.model, folder.best)
    share = _averaged(db, trainer, folder, learned)
    standing = trainer.standing
    result: dict[str, Any] = {
        "steps": standing.step,
        "seconds": standing.seconds,
        "best_step": standing.best_step,
        "validation_loss": standing.best_loss if trainer.validation.examples else None,
        "reason": reason,
        "processes": trainer.accelerator.num_processes,
        **({"average": share} if learned.start else {}),
        **asdict(learned.cuts),
    }
    hash_ = trainable.keep(folder.best, paths.adapters / run.name)
    lineage = {**origin(learned, trainer), "result": result, "made_with": made_with()}
    registry.add(db, hash_, run.name, run.id, run.model, run.base_hash, lineage)
    runs.set_result(db, run.id, {**result, "adapter": run.name}, hash_)


def _averaged(db: Database, trainer: Trainer, folder: RunFolder, learned: TrainingData) -> float:
    """Interpolate the best adapter with the one before the training, if the training lost too much of the earlier
    datasets. Returns the share of the new weights.
    """
    if learned.start is None or learned.start_folder is None:
        return 1.0
    trainer.say(Advanced("comparing with earlier datasets"))
    config = trainer.config
    parts = average.validation_parts(
        db, learned.start, learned.base.tokenizer_of_rows(config.block_tokens), config.seed
    )
    items, device = trainer.validation.items, trainer.accelerator.device
    new = [items[place] for place in sampled(items, average.MOST_TOKENS, config.seed)] if len(items) else []
    return average.interpolate(trainer.model, learned.start_folder, folder.best, new, parts, device)


def origin(learned: TrainingData, trainer: Trainer) -> dict[str, Any]:
    """Origin of a run's adapter, for its lineage."""
    start = {"start": learned.start.as_json(), "replayed": len(learned.replayed)} if learned.start else {}
    return {
        "base": {"model": learned.model, "sha256": learned.base.hash},
        "dataset": {"name": learned.dataset.name, "sha256": learned.dataset.hash},
        "settings": trainer.config.as_json(),
        "shape": trainer.shape.as_json(),
        **start,
    }
