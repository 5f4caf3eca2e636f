"""ChatGPT's export: `conversations.json`, or the zip that holds it. The tree of each conversation is kept.

Reasoning goes before its reply, custom instructions become the system message; hidden nodes, tools and what was said
to them are left out and counted, as are pictures and sound (a transcript of sound is text). Thumbs up and down are
ratings where the zip has them.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from assistant.store.curation import Judgement
from assistant.store.exchange import json_values
from assistant.store.exchange.shape import checked, given, list_of, needed, object_of, time_ms
from assistant.store.exchange.source import Source
from assistant.store.exchange.transcript import NOT_JUDGED, THOUGHT, Transcript, Turn, WrongShape

FEEDBACK = "message_feedback.json"
_RATINGS = {"thumbs_up": 1, "thumbsup": 1, "thumbs_down": -1, "thumbsdown": -1}


def is_one(value: object) -> bool:
    """Whether a value of a file is a conversation of this format."""
    return isinstance(value, dict) and "mapping" in value


def ratings(source: Source) -> dict[str, int]:
    """Message id -> rating, of the zip's feedback file; empty where there is none."""
    file = source.beside(FEEDBACK)
    if file is None:
        return {}
    found = {}
    for _, row in json_values.values(file):
        if isinstance(row, dict) and isinstance(row.get("id"), str) and isinstance(row.get("rating"), str):
            found[row["id"]] = _RATINGS.get(row["rating"].lower(), 0)
    return found


def read(value: Mapping[str, Any], place: str, rated: Mapping[str, int]) -> Transcript:
    """One conversation. Raises `WrongShape`."""
    left: Counter[str] = Counter()
    mapping = needed(value, "mapping", dict)
    turns = [_turn(key, checked(node, f"mapping {key}", dict), rated, left) for key, node in mapping.items()]
    title = given(value, "title", "")
    source_id = value.get("conversation_id") or value.get("id")
    return Transcript(
        name=title or place,
        turns=turns,
        title=title,
        title_is_automatic=not title,
        created_ms=time_ms(value.get("create_time")),
        updated_ms=time_ms(value.get("update_time")),
        pinned=value.get("is_starred") is True,
        model=given(value, "default_model_slug", ""),
        source="chatgpt",
        source_id=source_id if isinstance(source_id, str) else "",
        leaf=given(value, "current_node", ""),
        left=left,
    )


def _turn(key: str, node: Mapping[str, Any], rated: Mapping[str, int], left: Counter[str]) -> Turn:
    parent = given(node, "parent", "") or None
    message = object_of(node, "message")
    if not message:
        return Turn(key, parent, "placeholder", "")
    metadata = object_of(message, "metadata")
    content = object_of(message, "content")
    role, text = _said(message, metadata, content, left)
    name = given(message, "id", key)
    rating = rated.get(name, 0)
    model = metadata.get("model_slug")
    return Turn(
        key,
        parent,
        role,
        text,
        created_ms=time_ms(message.get("create_time")),
        updated_ms=time_ms(message.get("update_time")),
        model=model if role == "assistant" and isinstance(model, str) else "",
        judgement=Judgement(rating) if rating and role == "assistant" else NOT_JUDGED,
    )


def _said(
    message: Mapping[str, Any], metadata: Mapping[str, Any], content: Mapping[str, Any], left: Counter[str]
) -> tuple[str, str]:
    """Who speaks, in the words of `Turn.role`, and what is said."""
    role = needed(needed(message, "author", dict), "role", str)
    kind = given(content, "content_type", "text")
    if kind in ("user_editable_context", "model_editable_context"):
        return "system", _instructions(content)
    if kind == "thoughts":
        return THOUGHT, _thoughts(content)
    if kind == "reasoning_recap":  # "Thought for 12 seconds"
        return THOUGHT, ""
    if metadata.get("is_visually_hidden_from_conversation") is True and role != "system":
        return "hidden", _text(content, left)
    if role == "assistant" and given(message, "recipient", "all") != "all":
        return "tool call", _text(content, left)
    return role, _text(content, left)


def _instructions(content: Mapping[str, Any]) -> str:
    fields = ("user_profile", "user_instructions", "model_set_context")
    return "\n\n".join(text for name in fields if (text := given(content, name, "").strip()))


def _thoughts(content: Mapping[str, Any]) -> str:
    thoughts = [checked(one, "thoughts", dict) for one in list_of(content, "thoughts")]
    said = [given(one, "content", "") or given(one, "summary", "") for one in thoughts]
    return "\n\n".join(filter(None, said))


def _text(content: Mapping[str, Any], left: Counter[str]) -> str:
    """The parts in words, a blank line between; code keeps its fence."""
    if "parts" in content:
        return "\n\n".join(filter(None, (_part(part, left) for part in list_of(content, "parts"))))
    text = given(content, "text", "") or given(content, "result", "")
    if content.get("content_type") == "code" and text:
        language = content.get("language")
        return f"```{language if language and language != 'unknown' else ''}\n{text}\n```"
    return text


def _part(part: object, left: Counter[str]) -> str:
    if part is None or isinstance(part, str):
        return part or ""
    if not isinstance(part, dict):
        raise WrongShape(f"a part of a message is {type(part).__name__}, not text")
    kind = str(part.get("content_type", "unknown"))
    if isinstance(text := part.get("text"), str):  # among others a transcript of sound
        return text
    word = "pictures" if "image" in kind else "sounds" if "audio" in kind or "video" in kind else "attachments"
    left[f"{word} left out"] += 1
    return ""
