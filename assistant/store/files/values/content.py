"""The words in the content of a message, in any shape that programs use; parts without words are counted."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assistant.store.files.transcript import WrongShape
from assistant.store.files.values.fields import Fields, count, is_empty, kind_of

_KINDS = ("type", "content_type", "kind")
_TEXTS = ("text", "value", "thinking", "think", "reasoning", "refusal", "content", "summary")
_THOUGHTS = frozenset(
    {"thinking", "reasoning", "think", "thought", "thoughts", "reasoning_content", "redacted_thinking"}
)
_LAYOUT = frozenset(
    {"type", "content_type", "kind", "id", "index", "status", "role", "thought", "signature", "thoughtSignature"}
    | {"start_timestamp", "stop_timestamp", "cut_off", "summaries", "cache_control", "annotations", "citations"}
    | {"direction", "decoding_id"}
)
"""Of a part of a message: where and when it stood, and the marks in it, whose words are in the text."""
_THINGS = (
    ("image", "image attachments"),
    ("picture", "image attachments"),
    ("audio", "audio attachments"),
    ("sound", "audio attachments"),
    ("video", "video attachments"),
    ("tool_result", "tool results"),
    ("toolcallresult", "tool results"),
    ("output", "tool results"),
    ("tool", "tool calls"),
    ("function", "tool calls"),
    ("file", "file attachments"),
    ("document", "file attachments"),
    ("pdf", "file attachments"),
    ("attachment", "attachments"),
)

ATTACHED = ("attachments", "files", "extra", "images", "image", "audios", "audio", "videos", "video", "documents")
"""Fields of a message or of a row that hold what was attached."""
_ATTACHED_TEXTS = ("extracted_content", "content", "text")
_ATTACHED_NAMES = ("file_name", "name", "filename")


def words(content: object, left: Counter[str]) -> tuple[str, str]:
    """(what is said, what is thought): texts of several parts with a blank line between.

    Raises `WrongShape` where it is no text, list or object.
    """
    said: list[str] = []
    thought: list[str] = []
    _collect(content, said, thought, left)
    return "\n\n".join(filter(None, said)), "\n\n".join(filter(None, thought))


def _collect(content: object, said: list[str], thought: list[str], left: Counter[str]) -> None:
    if isinstance(content, str):
        said.append(content)
    elif isinstance(content, list):
        for part in content:
            _collect(part, said, thought, left)
    elif isinstance(content, dict):
        _part(content, said, thought, left)
    elif content is not None:
        raise WrongShape(f"'content' is {kind_of(content)}, not text")


def _part(part: dict[str, Any], said: list[str], thought: list[str], left: Counter[str]) -> None:
    fields = Fields(part)
    kind = next((part[name] for name in _KINDS if isinstance(part.get(name), str)), "")
    thing = "" if kind.endswith("text") else thing_of(kind)
    if thing.startswith("tool "):
        return count(left, thing)
    is_thought = kind in _THOUGHTS or part.get("thought") is True
    if (inner := fields.first(list, "parts", "content", "summary")) is not None:
        _collect(inner, thought if is_thought else said, thought, left)
    elif text := _text(fields, ("text",) if thing and not thing.startswith("'") else _TEXTS):
        (thought if is_thought else said).append(text)
    elif not any(part.get(name) == "" for name in _TEXTS):
        return count(left, thing or "parts without text")
    return fields.count_unread(left, _LAYOUT)


def _text(fields: Fields, names: Sequence[str]) -> str:
    """The text of a part: its own, or the `value` of an object, as the Assistants API has it."""
    if text := fields.text(*names):
        return text
    inner = fields.first(dict, *names)
    found = inner.get("value", inner.get("text")) if inner is not None else None
    return found if isinstance(found, str) else ""


def thing_of(kind: str) -> str:
    """What a part of that kind is, in the plural; an unknown kind as it is written, "" without a kind."""
    lower = kind.lower()
    return next((thing for word, thing in _THINGS if word in lower), f"'{kind[:40]}' parts" if kind else "")


def attached(fields: Fields, left: Counter[str]) -> Iterator[str]:
    """The text of each attachment under its name. Attachments without text are counted by what they are."""
    for name in ATTACHED:
        if name in fields:
            found = fields.take(name)
            for item in found if isinstance(found, list) else [found]:
                text = _attached_text(item)
                if text:
                    yield text
                elif not is_empty(item):
                    count(left, _thing(item, name))


def _attached_text(item: object) -> str:
    if not isinstance(item, Mapping):
        return ""
    inner = item.get("file")
    data = inner.get("data") if isinstance(inner, Mapping) else None
    held = {**item, **data} if isinstance(data, Mapping) else item
    text = next((held[name] for name in _ATTACHED_TEXTS if isinstance(held.get(name), str) and held[name]), "")
    title = next((held[name] for name in _ATTACHED_NAMES if isinstance(held.get(name), str) and held[name]), "")
    return f"{title or 'Attachment'}:\n\n{text}" if text else ""


def _thing(item: object, field: str) -> str:
    """What was attached, by its own kind or else by the field it was in."""
    kinds = [item.get(name) for name in ("type", "mime_type", "file_type")] if isinstance(item, Mapping) else []
    known = [thing_of(kind) for kind in (*kinds, field) if isinstance(kind, str)]
    return next((thing for thing in known if thing and not thing.startswith("'")), "file attachments")
