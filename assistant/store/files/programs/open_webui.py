"""Open WebUI (and Z.ai): exported chats with their tree, and the export of feedback with the chats it was given in.

Reasoning that stands in the text as `<details type="reasoning">` goes before its reply; blocks of tool calls are left
out and counted.
"""

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assistant.store.files.imports.file_format import Format, MessageFormat, Object, Origin
from assistant.store.files.programs.tagged import replaced
from assistant.store.files.transcript import Transcript, WrongShape
from assistant.store.files.values.fields import Fields, count
from assistant.store.files.values.judgements import judgement_of
from assistant.store.files.values.message import LAYOUT, with_turns

_OPENING = '<details type="'
_QUOTED = re.compile(r"^> ?", re.MULTILINE)
_LAYOUT = LAYOUT | {
    *("models", "modelName", "modelIdx", "feedbackId", "statusHistory", "status", "lastSentence", "userContext"),
    *("completedAt", "info", "output", "arena", "selectedModelId", "originalContent", "done", "favorite"),
}
_CHAT = (
    "id",
    "user_id",
    "share_id",
    "folder_id",
    "archived",
    "timestamp",
    "models",
    "messages",
    "updated_at",
    "created_at",
)


def _is_chat(value: Object) -> bool:
    chat = value.get("chat", value)
    return isinstance(chat, dict) and isinstance(chat.get("history"), dict) and "messages" in chat["history"]


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    chat = fields.inner("chat") if "chat" in value else fields
    left: Counter[str] = Counter()
    history = chat.inner("history")
    messages = [_message(key, one, left) for key, one in history.needed("messages", dict).items()]
    models = chat.value.get("models")
    title = fields.text("title") or chat.text("title")
    made = Transcript(
        title or origin.place,
        (),
        title,
        not title,
        created_ms=fields.time("created_at") or chat.time("timestamp"),
        updated_ms=fields.time("updated_at"),
        pinned=fields.take("pinned") is True,
        model=models[0] if isinstance(models, list) and models and isinstance(models[0], str) else "",
        system=chat.inner("params").text("system") or chat.text("system"),
        source="open-webui",
        source_id=fields.identity("id") or chat.identity("id"),
        leaf=history.text("currentId") or None,
        left=left,
    )
    chat.skip("title", *_CHAT)
    chat.count_unread(left)
    history.count_unread(left)
    if chat is not fields:
        fields.count_unread(left, _CHAT)
    return with_turns(replace(made, left=left), messages, _LAYOUT)


def _message(key: str, value: object, left: Counter[str]) -> Mapping[str, Any]:
    """The message with its reasoning in a field of its own."""
    if not isinstance(value, dict):
        raise WrongShape(f"message {key[:40]!r} is {type(value).__name__}, not an object")
    message = {"id": key, **value}
    content = message.get("content")
    if not content and message.get("output"):
        return message | {"content": message["output"]}
    if not isinstance(content, str) or _OPENING not in content:
        return message
    thoughts: list[str] = []

    def taken(block: str) -> str:
        kind, _, rest = block.partition('"')
        if kind == "reasoning":
            text = rest.partition(">")[2].rpartition("</summary>")[2]
            thoughts.append(_QUOTED.sub("", html.unescape(text)).strip())
        else:
            count(left, "tool calls" if kind == "tool_calls" else f"'{kind[:30]}' blocks")
        return ""

    said = replaced(content, _OPENING, "</details>", taken).strip()
    return message | {"content": said, "reasoning_content": "\n\n".join(thoughts)}


# -- feedback ---------------------------------------------------------------------------------------------------------


def _is_feedback(value: Object) -> bool:
    return value.get("type") == "rating" and isinstance(value.get("data"), dict) and "meta" in value


def _chat_of(value: Object) -> str:
    meta = value.get("meta")
    return str(meta.get("chat_id", "")) if isinstance(meta, dict) else ""


def _read_feedback(rows: Sequence[Object], origin: Origin) -> Transcript:
    """The newest state of a chat, with all ratings that were given in it."""
    chats = [chat for row in rows if (chat := _snapshot(row)) is not None]
    if not chats:
        raise WrongShape("it is feedback without the chat that it is about; export the chats too")
    made = _read(chats[-1], origin)
    left = Counter(made.left)
    judged = {}
    for row in rows:
        meta = row["meta"] if isinstance(row["meta"], dict) else {}
        judged[str(meta.get("message_id"))] = judgement_of(Fields({"feedback": row["data"]}), left)
    turns = [replace(turn, judgement=judged.pop(turn.key)) if turn.key in judged else turn for turn in made.turns]
    count(left, "ratings of a reply that isn't in its chat", len(judged))
    return replace(made, turns=turns, left=left)


def _snapshot(row: Object) -> Object | None:
    snapshot = row.get("snapshot")
    chat = snapshot.get("chat") if isinstance(snapshot, dict) else None
    return chat if isinstance(chat, dict) and _is_chat(chat) else None


CHATS = Format("open-webui", "Open WebUI", _is_chat, _read, grows=True)
FEEDBACK = MessageFormat("open-webui feedback", "Open WebUI", _is_feedback, _chat_of, _read_feedback, grows=True)
