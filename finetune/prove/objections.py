"""Objections to using an adapter, from its evaluation. Loads no torch: the screen asks before promoting."""

from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from assistant.store.training import runs
from assistant.store.training.adapters import StoredAdapter
from finetune.config import FORGETTING_LIMIT
from finetune.prove.report.texts import ENGLISH, Texts


def objections(db: Database, adapter: StoredAdapter, forgetting_limit: float = FORGETTING_LIMIT) -> list[str]:
    """Objections to using an adapter, as sentences; none if its proof is good."""
    run = runs.by_id(db, adapter.run_id)
    evaluation = runs.evaluation(db, run.id) if run else None
    if evaluation is None:
        how = f"Prove it first: `finetune eval {run.name}`." if run else "Its run was deleted, so it can't be any more."
        return [f"{adapter.name} was never compared with its base. {how}"]
    if evaluation.adapter_hash != adapter.hash:
        return [f"The last evaluation was of other files than {adapter.name} has now. Evaluate it again."]
    return verdicts(evaluation.report, forgetting_limit)


def verdicts(
    report: Mapping[str, Any], forgetting_limit: float = FORGETTING_LIMIT, texts: Texts = ENGLISH
) -> list[str]:
    """As `objections`, from a report only."""
    found = [
        *_about_main(report),
        *_about_forgetting(report, forgetting_limit),
        *_about_earlier(report, forgetting_limit),
    ]
    measures = {one["key"]: one for one in report["measures"]}
    if (voted := measures.get("votes")) and voted["verdict"] == "worse":
        found.append(("votes", voted))
    if leaked := report["memorised"]["leaked"]:
        found.append(("leaks", {"leaked": len(leaked), "probes": report["memorised"]["probes"]}))
    return [texts.reasons[key].format(**values) for key, values in found]


Reason = tuple[str, Mapping[str, Any]]
"""(key in `Texts.reasons`, values of its placeholders)."""


def _about_main(report: Mapping[str, Any]) -> list[Reason]:
    if (taught := report.get("taught")) is not None:
        return [("taught", taught)] if taught["right"] < taught["taught"] else []
    main = next((one for one in report["measures"] if one["main"]), None)
    if main is None:
        return [("nothing", {})]
    return [] if main["verdict"] == "better" else [("few" if main["verdict"] == "too few" else "unclear", main)]


def _about_forgetting(report: Mapping[str, Any], limit: float) -> list[Reason]:
    if "entities" in report:
        return [("entities", {})]
    forgotten = next((one for one in report["measures"] if one["key"] == "forgetting"), None)
    if forgotten is None:
        return [("unmeasured", {})]
    return [("forgets", {**forgotten, "limit": limit})] if forgotten["difference"] > limit else []


def _about_earlier(report: Mapping[str, Any], limit: float) -> list[Reason]:
    """Earlier datasets that got worse by more than the limit, or that couldn't be measured."""
    earlier = report.get("earlier") or {}
    if earlier.get("trouble"):
        return [("unasked", earlier)]
    found: list[Reason] = []
    for one in earlier.get("measures", ()):
        worse = one["difference"] if one["lower_is_better"] else -one["difference"]
        if worse > limit:
            found.append(("loses", {**one, "worse": worse, "limit": limit}))
    return found
