"""Search by meaning, alone or together with the search for words.

A question and what answers it needn't share a word. The caller brings the vector of what was typed, made by the model
that made those of the log (`embedding_queue`).
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlite_utils import Database

from assistant.store.database import select
from assistant.store.meaning.vectors import Vectors
from assistant.store.search import exchanges, search
from assistant.store.search.filter import EVERYTHING, Filter
from assistant.store.search.search import Found, Hit

FUSED = 50
"""So many hits of each kind are fused."""

RRF_K = 60
"""Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): a hit at rank r counts 1 / (60 + r)."""

LEAST_SIMILARITY = 0.2
"""Less is chance: of a question and a reply to another one, in English, it is 0.10 ± 0.15, to that one 0.46."""

MOST_NEAREST = 16_000
"""So many are looked through for those that pass a filter which leaves many rows; then most are far anyway."""


def by_meaning(
    db: Database, vectors: Vectors, vector: Sequence[float], filter_: Filter = EVERYTHING, *, limit: int = 50
) -> Found:
    """Up to `limit` exchanges whose meaning is nearest to `vector`, the nearest first; there is no next page.

    Raises `StoreError` where `vector` is of another length than those of the log.
    """
    among = _listed(db, filter_)
    wanted = 2 * limit  # of an exchange both sides may be near, and of a long text several pieces
    while True:
        near = [one for one in vectors.nearest(vector, wanted, among) if one[1] >= LEAST_SIMILARITY]
        found = search.standing(db, [message_id for message_id, _ in near], filter_)
        nearest: dict[int, tuple[int, int | None]] = {}
        for message_id, reply in found:
            nearest.setdefault(reply or message_id, (message_id, reply))
        if len(nearest) >= limit or len(near) < wanted or wanted >= MOST_NEAREST:
            break
        wanted *= 8
    similarity = dict(near)
    hits = search.told(db, list(nearest.values())[:limit], [])
    return Found([replace(hit, similarity=round(similarity[hit.message_id], 4)) for hit in hits], None)


def _listed(db: Database, filter_: Filter) -> set[int] | None:
    """The messages that pass a filter which leaves few, replies and what they answer; None where it leaves many."""
    held = exchanges.conditions(filter_)
    index = exchanges.few(db, held)
    if not index:
        return None
    passes, values = exchanges.joined(held)
    rows = select(db, f"SELECT message_id, prompt_id FROM exchanges {index} WHERE {passes}", values)
    return {one for row in rows for one in row if one is not None}


def hybrid(
    db: Database,
    vectors: Vectors,
    typed: str,
    vector: Sequence[float],
    filter_: Filter = EVERYTHING,
    *,
    limit: int = 50,
    within_s: float | None = None,
    as_typed: bool = True,
) -> Found:
    """Up to `limit` exchanges found by their words (the newest first) and by meaning, fused by their ranks."""
    depth = max(FUSED, limit)
    words = search.search(db, typed, filter_, limit=depth, within_s=within_s, as_typed=as_typed)
    meaning = by_meaning(db, vectors, vector, filter_, limit=depth)
    return Found(fused([words.hits, meaning.hits], limit), None, words.complete)


def fused(lists: Sequence[Sequence[Hit]], limit: int) -> list[Hit]:
    """Hits of several searches as one list by reciprocal rank; of the same exchange the first list's hit is told."""
    scores: dict[int, float] = {}
    hits: dict[int, Hit] = {}
    for one in lists:
        for rank, hit in enumerate(one, 1):
            key = hit.exchange.message_id if hit.exchange else hit.message_id
            scores[key] = scores.get(key, 0.0) + 1 / (RRF_K + rank)
            told = hits.setdefault(key, hit)
            if told.similarity is None and hit.similarity is not None:
                hits[key] = replace(told, similarity=hit.similarity)
    return [hits[key] for key in sorted(scores, key=lambda key: (-scores[key], -key))[:limit]]
