"""Whether an adapter may be used from now on, and the swap. What speaks against it is told, and kept where it was
overruled; what would make every reply fail can't be overruled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from assistant.engine import catalogue, model_folder, weights
from assistant.engine.adapter_folder import AdapterFolder
from assistant.engine.catalogue import Remote
from assistant.errors import AdapterError, TrainingRefused
from assistant.paths import Paths
from assistant.store import adapters, runs
from assistant.store.adapters import StoredAdapter
from finetune.config import FORGETTING_LIMIT
from finetune.objections import objections
from finetune.progress import Advanced, Progress
from finetune.tagging import has_head

PICKLE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


@dataclass(frozen=True, slots=True)
class Promoted:
    """`reasons`: what spoke against it and was overruled."""

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
    """Use an adapter, named as its run, its folder or its hash, for new replies from now on.

    Raises `TrainingRefused` where something speaks against it, or, with `anyway`, where replies couldn't be made with
    it at all.
    """
    adapter = found(db, name)
    say(Advanced("checking the adapter's files and the model's weights"))
    refuse_unusable(paths, adapter)
    reasons = objections(db, adapter, forgetting_limit)
    if reasons and not anyway:
        raise TrainingRefused(f"{' '.join(reasons)} To use it all the same: `finetune promote {name} --anyway`.")
    adapters.promote(db, adapter.hash, anyway=bool(reasons), reasons=" ".join(reasons))
    return Promoted(adapter, tuple(reasons))


def found(db: Database, name: str) -> StoredAdapter:
    """The adapter of a run, a folder or a hash. Raises `TrainingRefused` where there is none."""
    run = runs.find(db, name)
    if run is not None and not run.adapter_hash:
        raise TrainingRefused(
            f"{name} has no adapter: it is {run.state}"
            + (", and trained the model's own weights." if run.state == "finished" else ".")
        )
    adapter = adapters.find(db, run.adapter_hash if run else name)
    if adapter is None:
        known = ", ".join(one.name for one in adapters.every(db)[:8]) or "none"
        raise TrainingRefused(f"There is no adapter {name!r}. There are: {known}.")
    return adapter


def refuse_unusable(paths: Paths, adapter: StoredAdapter) -> None:
    """Raise `TrainingRefused` where replies can't be made with the adapter as it is."""
    if has_head(paths.adapters / adapter.name):
        raise TrainingRefused(f"{adapter.name} finds entities and can't reply. `finetune tag {adapter.name}` uses it.")
    if trouble := damage(paths.adapters / adapter.name, adapter.hash):
        raise TrainingRefused(f"{adapter.name} can't be used: {trouble}")
    base_hash = weights_hash(paths, adapter.model)
    if adapter.base_hash != base_hash:
        raise TrainingRefused(
            f"{adapter.name} was made for other weights of {adapter.model}: for {adapter.base_hash[:12]}, and they are "
            f"{base_hash[:12]}. Train again on this model."
        )


def weights_hash(paths: Paths, model: str) -> str:
    """Of a model as it is now, as each of its replies names it. Raises a `ModelError`."""
    found = catalogue.find(paths, model)
    if isinstance(found, Remote):
        raise TrainingRefused(f"{model} runs on another server, which can't be given an adapter.")
    return weights.sha256(model_folder.ready(found.folder, lambda _: None))


def damage(folder: Path, hash_: str) -> str:
    """What is wrong with an adapter's files, in a sentence; empty where they are what was registered."""
    if not folder.is_dir():
        return f"{folder} is gone. Put it back, or train again."
    pickled = sorted(one.name for one in folder.iterdir() if one.suffix in PICKLE)
    if pickled:
        return f"{folder} holds {pickled[0]}, which is pickle and could run code. Take it out."
    try:
        now = AdapterFolder.open(folder).hash
    except AdapterError as error:
        return str(error)
    if now != hash_:
        return f"its files were changed: their hash was {hash_[:12]} and is {now[:12]}. Put them back, or train again."
    return ""
