"""Preference pairs, `{"prompt": […], "chosen": […], "rejected": […]}`, as DPO takes them: JSON Lines of messages.

A pair is a vote that was no tie, a correction with what it corrects, or a reply rated good beside one rated bad.
Each pair comes once; one whose chosen side is to be skipped doesn't come.
"""

import json
from collections.abc import Iterator
from itertools import groupby

from assistant.store.exchange.stored import Stored


def write(conversation: Stored) -> Iterator[str]:
    """The pairs of one conversation, a line each."""
    seen = set()
    for chosen_id, rejected in _pairs(conversation):
        chosen = conversation.by_id[chosen_id].content
        if (chosen_id, rejected) in seen or chosen == rejected or not chosen.strip() or not rejected.strip():
            continue
        seen.add((chosen_id, rejected))
        if conversation.judgement(chosen_id).decision != "skip" and conversation.is_chosen(chosen_id):
            prompt = conversation.messages(conversation.path_to(chosen_id)[:-1])
            pair = {"prompt": prompt, "chosen": _reply(chosen), "rejected": _reply(rejected)}
            yield json.dumps(pair, ensure_ascii=False) + "\n"


def _reply(content: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": content}]


def _pairs(conversation: Stored) -> Iterator[tuple[int, str]]:
    """The id of the chosen reply and the text of the rejected one."""
    for vote, rejected in conversation.votes:
        if not vote.tie:
            yield vote.chosen_id, rejected
    for row in conversation.rows:
        if row.corrects_id in conversation.by_id:
            yield row.id, conversation.by_id[row.corrects_id].content
    yield from _rated(conversation)


def _rated(conversation: Stored) -> Iterator[tuple[int, str]]:
    rated = [row for row in conversation.rows if conversation.judgement(row.id).rating]
    rated.sort(key=lambda row: row.parent_id or 0)
    for _, group in groupby(rated, key=lambda row: row.parent_id):
        siblings = list(group)
        good = [row for row in siblings if conversation.judgement(row.id).rating > 0]
        bad = [row for row in siblings if conversation.judgement(row.id).rating < 0]
        yield from ((one.id, other.content) for one in good for other in bad)
