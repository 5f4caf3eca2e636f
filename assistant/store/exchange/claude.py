"""Claude's export: `conversations.json`, or the zip that holds it. Edited and regenerated messages are branches.

Thinking goes before its reply. The text of an attachment goes after what was said with it; files without text, and
what tools were asked and answered, are left out and counted. A message without a parent answers the one before it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from assistant.store.exchange.shape import checked, given, list_of, needed, time_ms
from assistant.store.exchange.transcript import Transcript, Turn

_ROOT = "00000000-0000-4000-8000-000000000000"
_ROLES = {"human": "user"}


def is_one(value: object) -> bool:
    """Whether a value of a file is a conversation of this format."""
    return isinstance(value, dict) and "chat_messages" in value


def read(value: Mapping[str, Any], place: str) -> Transcript:
    """One conversation. Raises `WrongShape`."""
    left: Counter[str] = Counter()
    turns: list[Turn] = []
    for number, message in enumerate(needed(value, "chat_messages", list)):
        before = turns[-1].key if turns else None
        turns.append(_turn(checked(message, f"chat_messages {number}", dict), str(number), before, left))
    title = given(value, "name", "")
    return Transcript(
        name=title or place,
        turns=turns,
        title=title,
        title_is_automatic=not title,
        created_ms=time_ms(value.get("created_at")),
        updated_ms=time_ms(value.get("updated_at")),
        pinned=value.get("is_starred") is True,
        model=given(value, "model", ""),
        source="claude",
        source_id=given(value, "uuid", ""),
        leaf=given(value, "current_leaf_message_uuid", ""),
        left=left,
    )


def _turn(message: Mapping[str, Any], number: str, before: str | None, left: Counter[str]) -> Turn:
    sender = needed(message, "sender", str)
    parent = given(message, "parent_message_uuid", "") or before
    return Turn(
        given(message, "uuid", "") or number,
        None if parent == _ROOT else parent,
        _ROLES.get(sender, sender),
        _text(message, left),
        created_ms=time_ms(message.get("created_at")),
        updated_ms=time_ms(message.get("updated_at")),
    )


def _text(message: Mapping[str, Any], left: Counter[str]) -> str:
    thoughts, said = [], []
    for block in list_of(message, "content"):
        kind = given(checked(block, "content", dict), "type", "text")
        if kind == "text":
            said.append(given(block, "text", ""))
        elif kind == "thinking":
            thoughts.append(given(block, "thinking", ""))
        else:
            left[f"{kind} blocks left out"] += 1
    text = "\n\n".join(filter(None, said)) or given(message, "text", "")
    thought = "\n\n".join(filter(None, thoughts))
    parts = [f"<think>\n{thought}\n</think>" if thought and text else thought, text, *_attached(message, left)]
    return "\n\n".join(filter(None, parts))


def _attached(message: Mapping[str, Any], left: Counter[str]) -> list[str]:
    """The text of what was attached, under the file's name. A file without text is counted."""
    texts = []
    for attachment in list_of(message, "attachments"):
        content = given(checked(attachment, "attachments", dict), "extracted_content", "")
        if content:
            texts.append(f"{given(attachment, 'file_name', '') or 'Attachment'}:\n\n{content}")
        else:
            left["attachments left out"] += 1
    left["files left out"] += len(list_of(message, "files"))
    return texts
