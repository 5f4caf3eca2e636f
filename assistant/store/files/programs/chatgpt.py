"""ChatGPT's export: `conversations.json`, or several of that name with numbers. The tree of a conversation is kept.

Reasoning goes before its reply, custom instructions become the system message, a document of the canvas is part of the
reply that made it. Hidden nodes, tools and what was said to them are left out and counted, as are images and sound (a
transcript of sound is text). Thumbs up and down are ratings where the export has their file.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.programs.chatgpt_text import Links, links_of, without_marks
from assistant.store.files.programs.deepseek import is_deepseek
from assistant.store.files.programs.documents import Document, canvas
from assistant.store.files.transcript import NOT_JUDGED, THOUGHT, Transcript, Turn
from assistant.store.files.values.content import thing_of, words
from assistant.store.files.values.fields import Fields, checked, count, given, list_of, object_of
from assistant.store.files.values.judgements import rating_of
from assistant.store.files.values.source import Source
from assistant.store.judgements.curation import Judgement

FEEDBACK = "message_feedback.json"
_CONTEXTS = ("user_editable_context", "model_editable_context")
_CANVAS = ("canmore.create_textdoc", "canmore.update_textdoc")
_INSTRUCTIONS = ("user_profile", "user_instructions", "model_set_context")
_CONVERSATION = (
    *("id", "async_status", "blocked_urls", "safe_urls", "conversation_origin", "conversation_template_id", "gizmo_id"),
    *("gizmo_type", "disabled_tool_ids", "is_archived", "is_do_not_remember", "memory_scope", "moderation_results"),
    *("plugin_ids", "sugar_item_id", "sugar_item_visible", "voice", "context_scopes", "is_read_only", "is_study_mode"),
    *("owner", "pinned_time", "atlas_mode_enabled"),
)
_MESSAGE = ("id", "status", "end_turn", "channel", "content", "author", "recipient", "metadata")
_METADATA = (
    *("citations", "content_references", "default_model_slug", "finish_details", "is_complete"),
    *("is_user_system_message", "is_visually_hidden_from_conversation", "message_source", "message_type"),
    *("parent_id", "request_id", "selected_github_repos", "selected_sources", "serialization_metadata"),
    *("timestamp_", "user_context_message_data", "gizmo_id", "kwargs", "command", "status", "voice_mode_message"),
    *("turn_exchange_id", "search_result_groups", "search_queries", "search_turns_count", "search_source"),
    *("client_reported_search_source", "image_results", "safe_urls", "reasoning_status", "reasoning_title"),
    *("reasoning_group_id", "classifier_response", "model_switcher_deny", "requested_model_id", "system_hints"),
    *("can_save", "canvas", "finished_duration_sec", "developer_mode_connector_ids", "dictation", "initial_text"),
    *("finished_text", "skip_reasoning_title", "resolved_model_slug", "aggregate_result", "jit_plugin_data"),
    *("invoked_plugin", "pad", "exclusive_key", "rebase_developer_message", "rebase_system_message"),
    *("shared_conversation_id", "real_time_audio_has_video", "thinking_effort", "message_locale"),
    *("debug_sonic_thread_id", "sonic_classification_result", "permissions", "_cite_metadata"),
    *("summarization_headline"),
)
"""Fields of a message's metadata for accounting and layout, or that repeat the text."""


def _matches(value: Object) -> bool:
    return "mapping" in value and not is_deepseek(value)


@lru_cache(maxsize=4)
def _ratings(source: Source) -> dict[str, int]:
    """Message id -> rating, of the feedback file beside; empty where there is none."""
    rows = source.values_beside(FEEDBACK)
    found = {row["id"]: rating_of(row.get("rating")) for row in rows if isinstance(row.get("id"), str)}
    return {name: rating for name, rating in found.items() if rating}


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    mapping = fields.needed("mapping", dict)
    nodes = {key: checked(node, f"mapping {key[:40]}", dict) for key, node in mapping.items()}
    read = _Nodes(nodes, _ratings(origin.source), left)
    title = fields.text("title")
    made = Transcript(
        title or origin.place,
        [read.turn(key) for key in nodes],
        title,
        not title,
        created_ms=fields.time("create_time"),
        updated_ms=fields.time("update_time"),
        pinned=fields.take("is_starred") is True,
        model=fields.text("default_model_slug"),
        source="chatgpt",
        source_id=fields.text("conversation_id", "id"),
        leaf=fields.text("current_node") or None,
        left=left,
    )
    fields.skip("create_time", "update_time")
    fields.count_unread(left, _CONVERSATION)
    return made


class _Nodes:
    """The nodes of a conversation, each read with the links and documents in the other nodes."""

    def __init__(self, nodes: Mapping[str, Object], ratings: Mapping[str, int], left: Counter[str]) -> None:
        self._nodes = nodes
        self._ratings = ratings
        self._left = left
        self._links: Links = dict(self._all_links())
        self._documents: dict[str, Document | None] = {}

    def turn(self, key: str) -> Turn:
        """The turn of a node."""
        node = self._nodes[key]
        parent = given(node, "parent", "") or None
        message = object_of(node, "message")
        if not message:
            return Turn(key, parent, "placeholder", "")
        fields = Fields(message)
        metadata = Fields(object_of(message, "metadata"), "metadata.")
        role, text = self._said(key, fields, metadata)
        rating = self._ratings.get(fields.text("id") or key, 0)
        model = metadata.text("model_slug") if role == "assistant" else ""
        created, updated = fields.time("create_time"), fields.time("update_time")
        metadata.count_unread(self._left, (*_METADATA, "model_slug", "attachments"))
        fields.count_unread(self._left, (*_MESSAGE, "weight", "create_time", "update_time"))
        judgement = Judgement(rating) if rating and role == "assistant" else NOT_JUDGED
        return Turn(key, parent, role, text, created, updated, model=model, judgement=judgement)

    def _said(self, key: str, fields: Fields, metadata: Fields) -> tuple[str, str]:
        """Who speaks, in the words of `Turn.role`, and what is said."""
        message, left = fields.value, self._left
        content = object_of(message, "content")
        role = Fields(fields.needed("author", dict)).needed("role", str)
        kind = given(content, "content_type", "text")
        if kind in _CONTEXTS:
            return "system", "\n\n".join(text for name in _INSTRUCTIONS if (text := given(content, name, "").strip()))
        if kind in ("thoughts", "reasoning_recap"):  # the latter: "Thought for 12 seconds"
            return THOUGHT, "" if kind == "reasoning_recap" else _thoughts(content)
        recipient = given(message, "recipient", "all")
        hidden = metadata.value.get("is_visually_hidden_from_conversation") is True or message.get("weight") == 0
        if hidden and role != "system":
            return "tool" if role == "tool" else "hidden", _text(content, Counter())
        if role == "assistant" and recipient != "all":
            document = self._document(key) if recipient in _CANVAS else None
            return ("tool call", _text(content, left)) if document is None else ("assistant", str(document))
        self._count_files(metadata)
        return role, without_marks(_text(content, left), metadata.value, self._links, left)

    def _count_files(self, metadata: Fields) -> None:
        """Count the files that were attached. Images are counted among the parts of the message."""
        for one in metadata.first(list, "attachments") or []:
            kind = one.get("mime_type") or one.get("mimeType") if isinstance(one, dict) else None
            if not (isinstance(kind, str) and kind.startswith("image/")):
                count(self._left, "file attachments")

    def _all_links(self) -> Iterator[tuple[str, str]]:
        for node in self._nodes.values():
            message = node.get("message")
            metadata = message.get("metadata") if isinstance(message, dict) else None
            if isinstance(metadata, dict):
                yield from links_of(metadata)

    def _document(self, key: str) -> Document | None:
        """The canvas as it is after the call in this node."""
        calls: list[tuple[str, Object]] = []
        passed: set[str] = set()
        at: object = key
        while isinstance(at, str) and at in self._nodes and at not in self._documents and at not in passed:
            passed.add(at)
            if (call := _call(self._nodes[at])) is not None:
                calls.append((at, call))
                if "content" in call:
                    break
            at = self._nodes[at].get("parent")
        document = self._documents.get(at) if isinstance(at, str) else None
        for at, call in reversed(calls):
            document = canvas(call, document)
            self._documents[at] = document
        if document is None:
            count(self._left, "canvas changes")
        return document


def _call(node: Object) -> Object | None:
    """What a node asks the canvas to make or change; None where it asks nothing of it."""
    message = object_of(node, "message")
    recipient = message.get("recipient")
    if not isinstance(recipient, str) or recipient not in _CANVAS:
        return None
    content = object_of(message, "content")
    parts = content.get("parts")
    text = content.get("text") or (parts[0] if isinstance(parts, list) and parts else None)
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _thoughts(content: Mapping[str, Any]) -> str:
    thoughts = [checked(one, "thoughts", dict) for one in list_of(content, "thoughts")]
    said = [given(one, "content", "") or given(one, "summary", "") for one in thoughts]
    return "\n\n".join(filter(None, said))


def _text(content: Mapping[str, Any], left: Counter[str]) -> str:
    """The parts in words, a blank line between; code keeps its fence."""
    if "parts" in content:
        return "\n\n".join(filter(None, words(content["parts"], left)))
    text = given(content, "text", "") or given(content, "result", "")
    if content.get("content_type") == "code" and text:
        language = content.get("language")
        return f"```{language if language and language != 'unknown' else ''}\n{text}\n```"
    if not text and content.get("content_type") not in (None, "text", "code", "execution_output"):
        count(left, thing_of(str(content["content_type"])))
    return text


CONVERSATION = Format("chatgpt", "ChatGPT", _matches, _read, grows=True)
