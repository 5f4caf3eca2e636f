"""A conversation as JSON (the whole tree, with provenance) or as Markdown (the open path)."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlite_utils import Database

from assistant.store import conversations, messages
from assistant.store.messages import ReplyInfo, StoredMessage

FORMAT = "assistant-conversation/1"


def as_json(db: Database, conversation_id: int) -> dict[str, Any]:
    """The conversation with every branch and all that is known of each reply."""
    conversation = asdict(conversations.get(db, conversation_id))
    replies = messages.replies_of(db, conversation_id)
    rows = messages.all_of(db, conversation_id)
    return {"format": FORMAT, **conversation, "messages": [_message(row, replies.get(row.id)) for row in rows]}


def _message(row: StoredMessage, reply: ReplyInfo | None) -> dict[str, Any]:
    known = asdict(row)
    del known["conversation_id"]
    return known if reply is None else {**known, "reply": asdict(reply)}


def as_markdown(db: Database, conversation_id: int) -> str:
    """The open path as a transcript that reads well and can be told apart again."""
    conversation = conversations.get(db, conversation_id)
    path = messages.path(db, conversation.leaf_id) if conversation.leaf_id is not None else []
    parts = [f"# {conversation.title or 'Conversation'}"]
    for row in path:
        heading = f"## {'You' if row.role == 'user' else 'Assistant'} · {_time(row.created_ms)}"
        parts += [heading, row.content]
    return "\n\n".join(parts) + "\n"


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
