"""ShareGPT's format, `{"conversations": [{"from": "human", "value": …}]}`: JSON Lines."""

import json
from collections.abc import Iterator

from assistant.store.files.exports.stored import Stored

_NAMES = {"user": "human", "assistant": "gpt"}


def write(conversation: Stored) -> Iterator[str]:
    """The open path, or each that a filter chose, as one line. Nothing where nothing was said."""
    for path in conversation.paths:
        said = [
            {"from": _NAMES.get(one["role"], "system"), "value": one["content"]} for one in conversation.messages(path)
        ]
        yield json.dumps({"conversations": said}, ensure_ascii=False) + "\n"
