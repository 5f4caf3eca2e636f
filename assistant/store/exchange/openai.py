"""OpenAI's chat format, `{"messages": [{"role": …, "content": …}]}`: JSON Lines, a list, or one conversation alone.

The content may be text or parts, of which pictures and sound are left out and counted. Reasoning goes before its
reply; tool calls and their answers are left out. A file tells no times: those of the import are taken.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from assistant.store.exchange.shape import checked, given, kind_of, list_of, needed
from assistant.store.exchange.stored import Stored
from assistant.store.exchange.transcript import THOUGHT, Transcript, Turn, WrongShape
from assistant.store.exchange.turns_in_a_row import in_a_row

_ROLES = {"developer": "system", "function": "tool"}


def is_one(value: object) -> bool:
    """Whether a value of a file is a conversation of this format: an object of messages, or a list of them."""
    if isinstance(value, dict):
        return isinstance(value.get("messages"), list) and "format" not in value
    return isinstance(value, list) and bool(value) and is_message(value[0])


def is_message(value: object) -> bool:
    """Whether it is a message alone: a list of such is one conversation."""
    return isinstance(value, dict) and "role" in value and ("content" in value or "tool_calls" in value)


def read(value: Any, place: str) -> Transcript:
    """One conversation. Raises `WrongShape`."""
    messages = value if isinstance(value, list) else needed(value, "messages", list)
    left: Counter[str] = Counter()
    return Transcript(place, turns_of(messages, left), source="openai", left=left)


def turns_of(messages: list[Any], left: Counter[str]) -> list[Turn]:
    """The turns of a list of messages."""
    return in_a_row(pair for one in messages for pair in _said(checked(one, "a message", dict), left))


def _said(message: Mapping[str, Any], left: Counter[str]) -> Iterator[tuple[str, str]]:
    role = needed(message, "role", str)
    if isinstance(thought := message.get("reasoning_content") or message.get("reasoning"), str):
        yield THOUGHT, thought
    yield _ROLES.get(role, role), text_of(message.get("content"), left)
    left["tool calls left out"] += len(list_of(message, "tool_calls"))


def text_of(content: object, left: Counter[str]) -> str:
    """The words of a message's content."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise WrongShape(f"'content' is {kind_of(content)}, not text")
    return "\n\n".join(filter(None, (_part(part, left) for part in content)))


def _part(part: object, left: Counter[str]) -> str:
    if isinstance(part, str):
        return part
    fields: dict[str, Any] = checked(part, "a part of 'content'", dict)
    kind = given(fields, "type", "text")
    if isinstance(text := fields.get("text") or fields.get("refusal"), str):
        return text
    left[f"{kind} parts left out"] += 1
    return ""


def write(conversation: Stored) -> Iterator[str]:
    """The open path, or each that a filter chose, as one line. Nothing where nothing was said."""
    for path in conversation.paths:
        yield json.dumps({"messages": conversation.messages(path)}, ensure_ascii=False) + "\n"
