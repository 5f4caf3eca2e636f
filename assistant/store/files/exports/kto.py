"""KTO's labels, `{"prompt": […], "completion": […], "label": true}`: JSON Lines, one for every judged reply.

Good and bad are the person's ratings; a correction is good and what it corrects is bad, unless rated otherwise.
What is to be skipped doesn't come.
"""

import json
from collections.abc import Iterator

from assistant.ratings import BAD, GOOD
from assistant.store.files.exports.stored import Stored
from assistant.store.messages import StoredMessage


def write(conversation: Stored) -> Iterator[str]:
    """The judged replies of one conversation, a line each."""
    for row, good in labelled(conversation):
        prompt = conversation.messages(conversation.path_to(row.id)[:-1])
        completion = [{"role": "assistant", "content": row.content}]
        line = {"prompt": prompt, "completion": completion, "label": good}
        yield json.dumps(line, ensure_ascii=False) + "\n"


def labelled(conversation: Stored) -> Iterator[tuple[StoredMessage, bool]]:
    """The judged replies of one conversation that a filter lets through, and whether each is good."""
    labels = _labels(conversation)
    for row in conversation.rows:
        judgement = conversation.judgement(row.id)
        rating = judgement.rating if judgement.rating in (GOOD.number, BAD.number) else labels.get(row.id)
        wanted = judgement.decision != "skip" and conversation.is_chosen(row.id)
        if rating is not None and wanted and row.role == "assistant" and row.content.strip():
            yield row, rating == GOOD.number


def _labels(conversation: Stored) -> dict[int, int]:
    labels = {}
    for row in conversation.rows:
        if row.corrects_id is not None:
            labels[row.id] = GOOD.number
            labels.setdefault(row.corrects_id, BAD.number)
    return labels
