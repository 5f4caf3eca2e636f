"""What a training learns from: a frozen dataset tokenised for a model, and replayed examples of earlier datasets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlite_utils import Database

from assistant.adapters.folder import trouble
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters, datasets
from assistant.store.training.datasets import Dataset
from finetune.base import Base, opened_base
from finetune.config import TrainConfig
from finetune.data.example import Example
from finetune.data.lessons import Lessons, lessons, objective_of
from finetune.data.tokens import Cuts, Tokenizer
from finetune.lineage import lineage, replay
from finetune.lineage.lineage import Start
from finetune.lineage.replay import Shares
from finetune.plan import Shape
from finetune.train.expected import refuse_empty


@dataclass(frozen=True)
class TrainingData:
    """The lessons of a dataset for one model, and what is replayed with them."""

    dataset: Dataset
    model: str
    base: Base
    train: Lessons
    validation: Lessons
    cuts: Cuts
    """Texts of both parts that didn't fit the context."""
    start: Start | None = None
    """The adapter that the training starts from; None: the base."""
    start_folder: Path | None = None
    replayed: tuple[int, ...] = ()
    """Ids of the replayed examples, which follow the dataset's own in `train`."""
    deleted: tuple[str, ...] = ()
    """Names of earlier datasets that were deleted."""


def read_training_data(db: Database, paths: Paths, dataset_name: str, model: str, config: TrainConfig) -> TrainingData:
    """Read a frozen dataset for a model. Raises `TrainingRefused` if nothing can be learned from it."""
    dataset = datasets.get(db, dataset_name)
    base = opened_base(paths, model)
    tokenizer = base.tokenizer_of_rows(config.block_tokens)
    objective = objective_of(dataset.kind, config)
    learner = replace(_learner(base, config), cuts=tokenizer.cuts)

    def part(name: str, made_by: Tokenizer) -> Lessons:
        stored = datasets.examples(db, dataset.id, name)
        return lessons(objective, [Example.from_json(one.body) for one in stored], made_by, 0)

    train, validation = part("train", learner), part("validation", tokenizer)
    refuse_empty(dataset, len(train.examples))
    return TrainingData(dataset, model, base, train, validation, tokenizer.cuts)


def _learner(base: Base, config: TrainConfig) -> Tokenizer:
    """Tokenizer of the training part; other parts, which are only measured, don't learn the user's turns."""
    return replace(base.tokenizer_of_rows(config.block_tokens), questions=not config.assistant_only_loss)


def starting_from(db: Database, paths: Paths, learned: TrainingData, start: Start) -> TrainingData:
    """The data for a training from an adapter. Raises `TrainingRefused` if it was changed or has another base."""
    folder, adapter = paths.adapters / start.adapter, adapters.find(db, start.sha256)
    if wrong := trouble(folder, start.sha256):
        raise TrainingRefused(f"{start.adapter}, from which the training starts, can't be used: {wrong}")
    if adapter and adapter.base_hash != learned.base.hash:
        raise TrainingRefused(
            f"{start.adapter} was made for other weights of {learned.model}: for {adapter.base_hash[:12]}, and they "
            f"are {learned.base.hash[:12]}. Train from the base with --from {lineage.BASE}."
        )
    if learned.train.types:
        raise TrainingRefused(f"An entity head can be trained from the base only: give --from {lineage.BASE}.")
    return replace(learned, start=start, start_folder=folder, deleted=tuple(start.behind(db)[1]))


def replayed_ids(db: Database, learned: TrainingData, config: TrainConfig, shape: Shape) -> list[int]:
    """Ids of examples of earlier datasets, as many as the steps will read. None for objectives that compare replies,
    which stay near the start by themselves.
    """
    if not (learned.start and config.replay_share and learned.train.objective == "supervised"):
        return []
    own = {one.hash for one in datasets.examples(db, learned.dataset.id)}
    behind, _ = learned.start.behind(db)
    tokens = shape.tokens_per_step * shape.steps * config.replay_share / (1 - config.replay_share)
    return replay.sampled(db, behind, own, tokens, config.seed)


def with_replay(db: Database, learned: TrainingData, ids: Sequence[int], config: TrainConfig) -> TrainingData:
    """The data with these examples and general text mixed in."""
    if learned.train.objective != "supervised":
        return learned
    base, shares = learned.base, Shares.of(config, from_adapter=learned.start is not None)
    earlier = [Example.from_json(one.body) for one in datasets.of_ids(db, ids)]
    general = replay.general_text(base.chat_format, base.context_tokens) if shares.general else []
    mixed = replay.mixed(learned.train, earlier, general, shares, _learner(base, config))
    return replace(learned, train=mixed, replayed=tuple(ids))
