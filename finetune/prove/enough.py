"""What the replies that a training would take can show, by the evaluations of the log so far."""

from sqlite_utils import Database

from assistant.store.training import datasets, runs
from finetune.data.select import Counts, Selection, count
from finetune.prove.power import TOKENS, Estimate, spread_of

JUDGED = Selection()
"""Replies that are rated good, kept or corrected, as a training takes them where nothing else is chosen."""


def estimate(db: Database, counts: Counts, wanted: Selection) -> Estimate | None:
    """Of what `count` took of the log by this selection. None where perplexity isn't what decides."""
    if wanted.kind != "supervised":
        return None
    conversations = len(counts.conversations)
    return Estimate(
        conversations,
        counts.used,
        counts.tokens if conversations else TOKENS,
        spread_of(one.report for one in runs.last_evaluations(db)),
        len(counts.conversations & datasets.tested_conversations(db)),
        "replies" if wanted.everything else "rated replies",
    )


def sentence(db: Database, wanted: Selection = JUDGED, counts: Counts | None = None) -> str:
    """What the Train screen, the queue of the Log screen and `finetune status` say; empty where there is no estimate.

    `counts`: what `count` took by this selection, where that is known.
    """
    found = estimate(db, counts or count(db, wanted), wanted)
    return found.sentence if found else ""
