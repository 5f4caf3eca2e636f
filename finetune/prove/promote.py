"""Promote an adapter. Objections are raised, and stored if they are overruled; an adapter that can't be used at all is
always refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlite_utils import Database

from assistant.adapters.folder import trouble
from assistant.engine.models import catalogue, model_folder, weight_files
from assistant.engine.models.catalogue import Remote
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters
from assistant.store.training.adapters import StoredAdapter
from finetune.config import FORGETTING_LIMIT
from finetune.lineage.lineage import named
from finetune.progress import Advanced, Progress
from finetune.prove.objections import objections


@dataclass(frozen=True, slots=True)
class Promoted:
    """A promotion. `reasons`: objections that were overruled."""

    adapter: StoredAdapter
    reasons: tuple[str, ...]


def promote(
    db: Database,
    paths: Paths,
    name: str,
    *,
    anyway: bool = False,
    forgetting_limit: float = FORGETTING_LIMIT,
    say: Callable[[Progress], None] = lambda _: None,
) -> Promoted:
    """Use an adapter, given by run, folder or hash, for new replies.

    Raises `TrainingRefused` for objections, unless `anyway`, and for an adapter that can't be used at all.
    """
    adapter = named(db, name)
    say(Advanced("checking the adapter's files and the model's weights"))
    refuse_unusable(paths, adapter)
    reasons = objections(db, adapter, forgetting_limit)
    if reasons and not anyway:
        raise TrainingRefused(f"{' '.join(reasons)} To use it regardless: `finetune promote {name} --anyway`.")
    adapters.promote(db, adapter.hash, anyway=bool(reasons), reasons=" ".join(reasons))
    return Promoted(adapter, tuple(reasons))


def refuse_unusable(paths: Paths, adapter: StoredAdapter) -> None:
    """Raise `TrainingRefused` if the adapter's files or its base have changed."""
    if wrong := trouble(paths.adapters / adapter.name, adapter.hash):
        raise TrainingRefused(f"{adapter.name} can't be used: {wrong}")
    base_hash = weights_hash(paths, adapter.model)
    if adapter.base_hash != base_hash:
        raise TrainingRefused(
            f"{adapter.name} was made for other weights of {adapter.model}: for {adapter.base_hash[:12]}, and they are "
            f"{base_hash[:12]}. Train again on this model."
        )


def weights_hash(paths: Paths, model: str) -> str:
    """SHA-256 of a model's weights now, as its replies report it. Raises `ModelError`."""
    found = catalogue.find(paths, model)
    if isinstance(found, Remote):
        raise TrainingRefused(f"{model} runs on another server, which can't use this adapter.")
    return weight_files.sha256(model_folder.ready(found.folder, lambda _: None))
