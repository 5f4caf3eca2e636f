"""ShareGPT's format, `{"conversations": [{"from": "human", "value": …}]}`: JSON Lines or a list.

The names of the sides differ from file to file; those in use are known. A file tells no times.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from assistant.store.exchange.openai import text_of
from assistant.store.exchange.shape import checked, given, needed
from assistant.store.exchange.stored import Stored
from assistant.store.exchange.transcript import Transcript, WrongShape
from assistant.store.exchange.turns_in_a_row import in_a_row

_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant"} | {
    "model": "assistant",
    "bot": "assistant",
    "function_response": "tool",
    "observation": "tool",
    "function_call": "tool call",
}
_NAMES = {"user": "human", "assistant": "gpt"}


def is_one(value: object) -> bool:
    """Whether a value of a file is a conversation of this format."""
    return isinstance(value, dict) and isinstance(value.get("conversations", value.get("conversation")), list)


def read(value: Mapping[str, Any], place: str) -> Transcript:
    """One conversation. Raises `WrongShape`."""
    name = "conversations" if "conversations" in value else "conversation"
    left: Counter[str] = Counter()
    said = [_said(checked(one, "a message", dict), left) for one in needed(value, name, list)]
    if system := given(value, "system", ""):
        said.insert(0, ("system", system))
    source_id = value.get("id")
    return Transcript(
        place,
        in_a_row(said),
        title=given(value, "title", ""),
        title_is_automatic=not value.get("title"),
        source="sharegpt",
        source_id=source_id if isinstance(source_id, str) else "",
        left=left,
    )


def _said(message: Mapping[str, Any], left: Counter[str]) -> tuple[str, str]:
    role = message.get("from", message.get("role"))
    if not isinstance(role, str):
        raise WrongShape("a message has no 'from'")
    return _ROLES.get(role.lower(), role.lower()), text_of(message.get("value", message.get("content")), left)


def write(conversation: Stored) -> Iterator[str]:
    """The open path, or each that a filter chose, as one line. Nothing where nothing was said."""
    for path in conversation.paths:
        said = [
            {"from": _NAMES.get(one["role"], "system"), "value": one["content"]} for one in conversation.messages(path)
        ]
        yield json.dumps({"conversations": said}, ensure_ascii=False) + "\n"
