"""Whether an adapter may be used from now on, and the swap. What speaks against it is told, and kept where it was
overruled; what would make every reply fail can't be overruled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from assistant.adapters.folder import trouble
from assistant.engine import catalogue, model_folder, weights
from assistant.engine.catalogue import Remote
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store import adapters, runs
from assistant.store.adapters import StoredAdapter
from finetune.config import FORGETTING_LIMIT


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
) -> Promoted:
    """Use an adapter, named as its run, its folder or its hash, for new replies from now on.

    Raises `TrainingRefused` where something speaks against it, or, with `anyway`, where replies couldn't be made with
    it at all.
    """
    adapter = found(db, name)
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
        old = run.state == "finished" and "weights" in run.result
        raise TrainingRefused(
            f"{name} was trained by an earlier version, which kept the model's own weights for export alone: "
            f"`finetune export {name}`, or train again to chat with it."
            if old
            else f"{name} has no adapter: it is {run.state}."
        )
    adapter = adapters.find(db, run.adapter_hash if run else name)
    if adapter is None:
        known = ", ".join(one.name for one in adapters.every(db)[:8]) or "none"
        raise TrainingRefused(f"There is no adapter {name!r}. There are: {known}.")
    return adapter


def refuse_unusable(paths: Paths, adapter: StoredAdapter) -> None:
    """Raise `TrainingRefused` where replies can't be made with the adapter as it is."""
    if wrong := trouble(paths.adapters / adapter.name, adapter.hash):
        raise TrainingRefused(f"{adapter.name} can't be used: {wrong}")
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


def objections(db: Database, adapter: StoredAdapter, forgetting_limit: float = FORGETTING_LIMIT) -> list[str]:
    """What speaks against using an adapter, a sentence each."""
    run = runs.by_id(db, adapter.run_id)
    evaluation = runs.evaluation(db, run.id) if run else None
    if evaluation is None:
        how = f": `finetune eval {run.name}`" if run else ", and its run is gone"
        return [f"{adapter.name} was never compared with its base{how}."]
    if evaluation.adapter_hash != adapter.hash:
        return [f"The comparison was of another adapter than {adapter.name} is now: evaluate it again."]
    return verdicts(evaluation.report, forgetting_limit)


def verdicts(report: Mapping[str, Any], forgetting_limit: float = FORGETTING_LIMIT) -> list[str]:
    """What of a report speaks against using the adapter, a sentence each."""
    measures = {one["key"]: one for one in report["measures"]}
    reasons = (
        _is_unproved(measures),
        "It finds entities and can't reply: `finetune tag` uses it."
        if "entities" in report
        else _forgets(measures, forgetting_limit),
        _is_voted_down(measures),
        _leaks(report),
    )
    return [reason for reason in reasons if reason]


Measures = Mapping[str, Mapping[str, Any]]
"""By key."""


def _is_unproved(measures: Measures) -> str:
    main = next((one for one in measures.values() if one["main"]), None)
    if main is None:
        return "Nothing could be measured on the test part."
    if main["verdict"] == "too few":
        return f"The test part has {main['groups']} conversations, too few to show anything: it takes more."
    if main["verdict"] != "better":
        return f"It is not shown to be better: {main['name']} changed by {main['low']:+.1%} to {main['high']:+.1%}."
    return ""


def _forgets(measures: Measures, limit: float) -> str:
    if (general := measures.get("forgetting")) is None:
        return "It was not measured what was forgotten."
    if general["difference"] <= limit:
        return ""
    return f"It forgets: perplexity of general text went up by {general['difference']:.1%}, more than {limit:.1%}."


def _is_voted_down(measures: Measures) -> str:
    voted = measures.get("votes")
    if voted is None or voted["verdict"] != "worse":
        return ""
    return f"You preferred the base in blind votes: the adapter won {voted['adapted']:.0%} of {voted['items']}."


def _leaks(report: Mapping[str, Any]) -> str:
    leaked, probes = len(report["memorised"]["leaked"]), report["memorised"]["probes"]
    return f"It gives away what it should not: {leaked} of {probes} probes." if leaked else ""
