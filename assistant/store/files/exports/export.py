"""One conversation as JSON (the whole tree, with provenance) or as Markdown (the open path)."""

from typing import Any

from sqlite_utils import Database

from assistant.store import conversations
from assistant.store.files import markdown, own
from assistant.store.files.exports import stored
from assistant.store.files.exports.stored import Stored


def as_json(db: Database, conversation_id: int) -> dict[str, Any]:
    """The conversation with every branch and all that is known of each reply."""
    return own.as_object(_stored(db, conversation_id, whole=True))


def as_markdown(db: Database, conversation_id: int) -> str:
    """The open path as a transcript that reads well and can be told apart again."""
    return "".join(markdown.write(_stored(db, conversation_id, whole=False)))


def _stored(db: Database, conversation_id: int, *, whole: bool) -> Stored:
    conversations.get(db, conversation_id)  # raises where there is none
    return next(stored.read(db, [conversation_id], whole=whole))
