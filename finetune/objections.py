"""Reasons not to use an adapter, from what its evaluation says. Loads no torch: the screen asks before it promotes."""

from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from assistant.store import runs
from assistant.store.adapters import StoredAdapter
from finetune.config import FORGETTING_LIMIT


def objections(db: Database, adapter: StoredAdapter, forgetting_limit: float = FORGETTING_LIMIT) -> list[str]:
    """Reasons not to use an adapter, a sentence each; none where its proof is good."""
    run = runs.by_id(db, adapter.run_id)
    evaluation = runs.evaluation(db, run.id) if run else None
    if evaluation is None:
        how = f"Prove it first: `finetune eval {run.name}`." if run else "Its run is gone, so it can't be any more."
        return [f"{adapter.name} was never compared with its base. {how}"]
    if evaluation.adapter_hash != adapter.hash:
        return [f"The last comparison was of another adapter than {adapter.name} is now. Prove it again."]
    return verdicts(evaluation.report, forgetting_limit)


def verdicts(report: Mapping[str, Any], forgetting_limit: float = FORGETTING_LIMIT) -> list[str]:
    """As `objections`, from a report alone."""
    measures = {one["key"]: one for one in report["measures"]}
    main = next((one for one in measures.values() if one["main"]), None)
    told = []
    if main is None:
        told.append("Nothing could be measured on the test part.")
    elif main["verdict"] != "better":
        told.append(
            f"It is not shown to be better: {main['name']} changed by {main['low']:+.1%} to {main['high']:+.1%}."
            if main["verdict"] != "too few"
            else f"The test part has {main['groups']} conversations, too few to show a difference. Train on more."
        )
    forgotten = measures.get("forgetting")
    if "entities" in report:
        told.append("It finds entities and can't reply: `finetune tag` uses it.")
    elif forgotten is None:
        told.append("What it forgot was not measured.")
    elif forgotten["difference"] > forgetting_limit:
        told.append(
            f"It forgets: perplexity of general text went up by {forgotten['difference']:.1%}, "
            f"more than {forgetting_limit:.1%}."
        )
    if (voted := measures.get("votes")) and voted["verdict"] == "worse":
        told.append(
            f"You preferred the base in blind votes: the adapter won {voted['adapted']:.0%} of {voted['items']}."
        )
    if leaked := report["memorised"]["leaked"]:
        told.append(f"It gives away what it should not: {len(leaked)} of {report['memorised']['probes']} probes.")
    return told
