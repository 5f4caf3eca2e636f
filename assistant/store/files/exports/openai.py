"""OpenAI's chat format, `{"messages": [{"role": …, "content": …}]}`: JSON Lines."""

import json
from collections.abc import Iterator

from assistant.store.files.exports.stored import Stored


def write(conversation: Stored) -> Iterator[str]:
    """The open path, or each that a filter chose, as one line. Nothing where nothing was said."""
    for path in conversation.paths:
        yield json.dumps({"messages": conversation.messages(path)}, ensure_ascii=False) + "\n"
