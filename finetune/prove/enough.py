"""Estimate what the judged replies of a log can show, from the evaluations so far."""

from sqlite_utils import Database

from assistant.store.training import datasets, runs
from finetune.data.select import Counts, Selection, count
from finetune.prove.power import TOKENS, Estimate, spread_of

JUDGED = Selection()
"""The default selection of a training: replies rated good, kept or corrected."""


def estimate(db: Database, counts: Counts, wanted: Selection) -> Estimate | None:
    """The estimate for what `count` took from the log; None for kinds that perplexity doesn't decide."""
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
    """The sentence shown by the Train screen, the Log screen's queue and `finetune status`; empty without an estimate.

    `counts`: the result of `count` for this selection, if known.
    """
    found = estimate(db, counts or count(db, wanted), wanted)
    return found.sentence if found else ""
