"""Preference pairs, `{"prompt": […], "chosen": […], "rejected": […]}`, as DPO takes them: JSON Lines of messages.

A pair is a vote that was no tie, a correction with what it corrects, or a reply rated good beside one rated bad.
Each pair comes once; one whose chosen side is to be skipped doesn't come.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from assistant.ratings import BAD, GOOD
from assistant.store.files.exports.stored import Stored


@dataclass(frozen=True, slots=True)
class Pair:
    """One reply preferred to another. `rejected` is its text: it may lie in another conversation."""

    chosen_id: int
    rejected_id: int
    rejected: str


def write(conversation: Stored) -> Iterator[str]:
    """The pairs of one conversation, a line each."""
    for pair in pairs(conversation):
        prompt = conversation.messages(conversation.path_to(pair.chosen_id)[:-1])
        chosen = conversation.by_id[pair.chosen_id].content
        line = {"prompt": prompt, "chosen": _reply(chosen), "rejected": _reply(pair.rejected)}
        yield json.dumps(line, ensure_ascii=False) + "\n"


def pairs(conversation: Stored) -> Iterator[Pair]:
    """Those of one conversation whose chosen side a filter lets through, each once."""
    seen = set()
    for pair in _pairs(conversation):
        chosen = conversation.by_id[pair.chosen_id].content
        same = (pair.chosen_id, pair.rejected)
        if same in seen or chosen == pair.rejected or not chosen.strip() or not pair.rejected.strip():
            continue
        seen.add(same)
        if conversation.judgement(pair.chosen_id).decision != "skip" and conversation.is_chosen(pair.chosen_id):
            yield pair


def _reply(content: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": content}]


def _pairs(conversation: Stored) -> Iterator[Pair]:
    for vote, rejected in conversation.votes:
        if not vote.tie:
            yield Pair(vote.chosen_id, vote.rejected_id, rejected)
    for row in conversation.rows:
        if row.corrects_id in conversation.by_id:
            yield Pair(row.id, row.corrects_id, conversation.by_id[row.corrects_id].content)
    yield from _rated(conversation)


def _rated(conversation: Stored) -> Iterator[Pair]:
    rated = [row for row in conversation.rows if conversation.judgement(row.id).rating in (GOOD.number, BAD.number)]
    rated.sort(key=lambda row: row.parent_id or 0)
    for _, group in groupby(rated, key=lambda row: row.parent_id):
        siblings = list(group)
        good = [row for row in siblings if conversation.judgement(row.id).rating == GOOD.number]
        bad = [row for row in siblings if conversation.judgement(row.id).rating == BAD.number]
        yield from (Pair(one.id, other.id, other.content) for one in good for other in bad)
