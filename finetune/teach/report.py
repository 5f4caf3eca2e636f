"""The report on an adapter that was taught, of the form of an evaluation's: figures alone, no text of the log."""

from typing import Any

from assistant.store.training.datasets import Dataset
from finetune.config import FORGETTING_LIMIT
from finetune.prove.paired import Measure, share
from finetune.teach.alike import is_right
from finetune.teach.lesson import Lesson
from finetune.teach.outcome import Outcome
from finetune.teach.session import Look
from finetune.versions import made_with


def report(
    about: Lesson, found: Outcome, before: Look, after: Look, general: Measure, dataset: Dataset
) -> dict[str, Any]:
    """Before and after: the share of questions answered as corrected, and the perplexity of general text."""
    told: dict[str, Any] = {
        "run": found.run,
        "model": found.model,
        "base_hash": about.base.hash,
        "adapter": found.run,
        "adapter_hash": found.adapter_hash,
        "dataset": {"name": dataset.name, "kind": dataset.kind, "sha256": dataset.hash},
        "test": _test(found),
        "taught": found.figures,
        "measures": [one.as_json() for one in (_said(about, before, after), general)],
        "memorised": {"probes": 0, "canaries": 0, "leaked": []},
        "seed": 0,
        "seconds": found.seconds,
        "made_with": made_with(),
    }
    return {**told, "reasons": reasons(found)}


def reasons(found: Outcome) -> list[str]:
    """What speaks against the adapter, a sentence each."""
    figures, said = found.figures, []
    if wrong := figures["taught"] - figures["right"]:
        said.append(f"{wrong} of {figures['taught']} corrections are not said when asked the same way.")
    if wrong := figures["earlier"] - figures["earlier_right"]:
        said.append(f"{wrong} of {figures['earlier']} corrections taught before are not said any more.")
    if found.general_text > FORGETTING_LIMIT:
        said.append(f"The perplexity of general text rose by {100 * found.general_text:.1f} %.")
    return said


def _test(found: Outcome) -> dict[str, int]:
    count = found.figures["taught"] + found.figures["reworded"]
    return {"examples": count, "of": count, "groups": len(found.asked), "tokens": 0, "shortened": 0, "left_out": 0}


def _said(about: Lesson, before: Look, after: Look) -> Measure:
    """The share of the questions, as asked and in other words, that are answered as corrected."""
    old, new = (
        [float(is_right(one.text, said)) for one, some in zip(about.new, look.asked, strict=True) for said in some]
        for look in (before, after)
    )
    groups = [one.id for one, some in zip(about.new, after.asked, strict=True) for _ in some]
    return share("taught", "said as corrected", old, new, groups, main=True)
