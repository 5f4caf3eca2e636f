"""A conversation forked at a message: what led to it, copied into a conversation of its own.

Each reply's copy keeps its provenance: model, template, sampling, seed, token log-probabilities, timing. What was
thought of the originals is not copied, because a rating would count twice in what is trained on.
"""

from sqlite_utils import Database

from assistant.store import conversations, messages
from assistant.store.conversations import now_ms
from assistant.store.database import execute, transaction
from assistant.store.messages import FIGURES

TITLE = "{} (fork)"
_CONVERSATION = "model, template, inputs, sampling, system, adapter"
_MESSAGE = "role, content, created_ms, error, redacted"
_MADE = ("model", "adapter_hash", "template_hash", "sampling", "seed", "inputs", "version")
_REPLY = ", ".join((*_MADE, "token_data", *FIGURES))


def fork(db: Database, message_id: int) -> int:
    """The id of a new conversation that holds the path to `message_id`, and is open at its end.

    A reply that grows is copied as far as it is, stopped. Raises `StoreError` where there is no such message.
    """
    with transaction(db):
        original = conversations.get(db, messages.get(db, message_id).conversation_id)
        path = messages.path(db, message_id)
        now = now_ms()
        forked = execute(
            db,
            f"INSERT INTO conversations (title, title_is_automatic, created_ms, updated_ms, {_CONVERSATION}) "
            f"SELECT ?, ?, ?, ?, {_CONVERSATION} FROM conversations WHERE id = ?",
            (TITLE.format(original.title or "Untitled"), original.title_is_automatic, now, now, original.id),
        ).lastrowid
        assert forked is not None
        parent_id = None
        for row in path:
            parent_id = _copy(db, row.id, forked, parent_id)
        execute(db, "UPDATE conversations SET leaf_id = ? WHERE id = ?", (parent_id, forked))
    return forked


def _copy(db: Database, message_id: int, conversation_id: int, parent_id: int | None) -> int:
    """The id of the copy of one message."""
    copy = execute(
        db,
        f"INSERT INTO messages (conversation_id, parent_id, updated_ms, {_MESSAGE}, state) "
        f"SELECT ?, ?, ?, {_MESSAGE}, CASE state WHEN 'growing' THEN 'stopped' ELSE state END "
        "FROM messages WHERE id = ?",
        (conversation_id, parent_id, now_ms(), message_id),
    ).lastrowid
    assert copy is not None
    execute(
        db,
        f"INSERT INTO replies (message_id, {_REPLY}) SELECT ?, {_REPLY} FROM replies WHERE message_id = ?",
        (copy, message_id),
    )
    return copy
