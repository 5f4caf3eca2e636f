"""Claude's export: `conversations.json`. Edited and regenerated messages are branches.

Thinking goes before its reply, an artifact is part of the reply that made or changed it. The text of an attachment goes
after what was said with it; files without text, and what other tools were asked and answered, are left out and counted.
A message without a parent answers the one before it.
"""

import re
from collections import ChainMap, Counter
from collections.abc import Mapping, MutableMapping
from typing import Any

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.programs.documents import Document, artifact, created_file
from assistant.store.files.programs.tagged import replaced
from assistant.store.files.transcript import NOT_JUDGED, THOUGHT, Transcript, Turn
from assistant.store.files.values.content import attached, thing_of
from assistant.store.files.values.fields import Fields, checked, count, object_of
from assistant.store.files.values.judgements import judgement_of
from assistant.store.files.values.message import ROLES

_ROOT = "00000000-0000-4000-8000-000000000000"
_NOT_SHOWN = re.compile(r"```\nThis block is not supported on your current device yet\.\n```\n?")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_CONVERSATION = ("account", "is_temporary", "platform", "settings", "project_uuid", "current_leaf_message_uuid")
_MESSAGE = ("index", "stop_reason", "truncated", "updated_at", "created_at", "input_mode", "sync_sources")
_BLOCK = (
    *("type", "start_timestamp", "stop_timestamp", "citations", "summaries", "cut_off", "flags", "signature"),
    *("truncated", "alternative_display_type", "integration_name"),
)

_DOCUMENT_TOOLS = ("artifacts", "create_file", "str_replace")
_HANDED_OVER = "/mnt/user-data/outputs/"
"""Where Claude puts the files that it made for the person."""

_Documents = MutableMapping[str, Document]
"""The artifacts of a conversation as they are after a message, by their names."""


def _matches(value: Object) -> bool:
    return "chat_messages" in value


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    turns: list[Turn] = []
    after: dict[str, dict[str, Document]] = {}
    before: str | None = None
    for number, message in enumerate(fields.needed("chat_messages", list)):
        inner = Fields(checked(message, f"chat_messages {number}", dict))
        key = inner.text("uuid") or str(number)
        parent = inner.text("parent_message_uuid") or before
        documents = after.get(parent or "", {})
        made_here: dict[str, Document] = {}
        turns += _turns(inner, key, None if parent == _ROOT else parent, ChainMap(made_here, documents), left)
        after[key], before = {**documents, **made_here} if made_here else documents, key
    title = fields.text("name")
    made = Transcript(
        title or origin.place,
        turns,
        title,
        not title,
        created_ms=fields.time("created_at"),
        updated_ms=fields.time("updated_at"),
        pinned=fields.take("is_starred") is True,
        model=fields.text("model"),
        source="claude",
        source_id=fields.text("uuid"),
        leaf=fields.text("current_leaf_message_uuid") or None,
        left=left,
    )
    fields.skip("created_at", "updated_at")
    fields.count_unread(left, _CONVERSATION)
    return made


def _turns(fields: Fields, key: str, parent: str | None, documents: _Documents, left: Counter[str]) -> list[Turn]:
    sender = fields.needed("sender", str)
    role = ROLES.get(sender, sender[:30])
    created = fields.time("created_at")
    said, thought = _words(fields, documents, left)
    text = "\n\n".join(filter(None, (said, *attached(fields, left))))
    judgement = judgement_of(fields, left) if role == "assistant" else NOT_JUDGED
    fields.count_unread(left, _MESSAGE)
    before = []
    if thought:
        before = [Turn(f"{key} thought", parent, THOUGHT, thought, created)]
        parent = before[0].key
    return [*before, Turn(key, parent, role, text, created, fields.time("updated_at"), judgement=judgement)]


def _words(fields: Fields, documents: _Documents, left: Counter[str]) -> tuple[str, str]:
    """(what is said, with the artifacts that were made; what is thought)."""
    said, thought = [], []
    for block in fields.first(list, "content") or []:
        inner = Fields(checked(block, "content", dict), "content.")
        kind = inner.text("type") or "text"
        if kind == "text":
            said.append(_untagged(inner.text("text"), documents))
        elif kind == "thinking":
            thought.append(inner.text("thinking"))
        elif kind == "tool_use" and (call := _of_document(block)):
            said.append(_document(call, documents, left))
            continue
        elif kind == "tool_result" and (block.get("name") in _DOCUMENT_TOOLS or not block.get("content")):
            continue
        elif kind != "token_budget":
            count(left, thing_of(kind))
            continue
        inner.count_unread(left, _BLOCK)
    text = fields.text("text")
    if not any(said):
        said = [_untagged(_NOT_SHOWN.sub("", text), documents)]
    return "\n\n".join(filter(None, said)).strip(), "\n\n".join(filter(None, thought))


def _of_document(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a call says of a document that is made or changed; empty for any other call."""
    call = object_of(block, "input")
    is_file = str(call.get("path", "")).startswith(_HANDED_OVER)
    return call if block.get("name") == "artifacts" or (block.get("name") in _DOCUMENT_TOOLS and is_file) else {}


def _document(call: Mapping[str, Any], documents: _Documents, left: Counter[str]) -> str:
    """The document as it is after a call that makes or changes it."""
    name = str(call.get("id") or call.get("path") or call.get("title"))
    document = (created_file if "path" in call else artifact)(call, documents.get(name))
    if document is None:
        count(left, "document changes")
        return ""
    documents[name] = document
    return str(document)


def _untagged(text: str, documents: _Documents) -> str:
    """The text with the artifacts of its time, which stood in it between tags, and without its hidden thoughts."""
    if "<ant" not in text:
        return text

    def document(block: str) -> str:
        attributes, _, content = block.partition(">")
        tag = dict(_ATTRIBUTE.findall(attributes))
        made = artifact({**tag, "content": content.strip("\n")}, None)
        if made is None:
            return content
        documents[tag.get("identifier", "")] = made
        return str(made)

    text = replaced(text, "<antThinking>", "</antThinking>", lambda _: "")
    return replaced(text, "<antArtifact ", "</antArtifact>", document).strip()


CONVERSATION = Format("claude", "Claude", _matches, _read, grows=True)
