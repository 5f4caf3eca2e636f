"""Messages: a tree in which nothing is overwritten, and replies that are stored as they grow."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.events import Timing
from assistant.store import conversations, templates
from assistant.store.conversations import now_ms
from assistant.store.database import execute, select, transaction
from assistant.store.schema.token_data import pack, unpack

LOST_AFTER_MS = 10_000
"""A growing reply that nobody has touched for so long has lost its writer, who touches it every few seconds."""

NO_TEMPLATE_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The template of a reply that another program's model made: the hash of nothing."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message. `state` is `complete` for all that a person says; for a reply also `growing`, `cut` (at the length
    limit), `stopped` (by the person), `interrupted` (the engine or the program died) or `failed` (no text came)."""

    id: int
    conversation_id: int
    parent_id: int | None
    role: str
    content: str
    created_ms: int
    updated_ms: int
    state: str
    error: str
    corrects_id: int | None = None
    """The reply in whose place a person wrote this one."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a reply is made with, known before it begins."""

    model: str
    template: str
    template_hash: str
    template_text: str
    sampling: dict[str, Any]
    seed: int | None
    adapter_hash: str = ""
    """Of a reply that was cut off before the engine told the hash, the adapter's name."""
    inputs: dict[str, str] = field(default_factory=dict)
    """What the template was filled with; empty also where that is not known."""
    version: str = ""
    """Of this program; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reply went, known when it has ended."""

    model_hash: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    dropped_messages: int = 0
    context_tokens: int = 0
    load_s: float = 0.0
    first_token_s: float = 0.0
    total_s: float = 0.0
    """Of a continued reply, tokens and seconds of all its parts; its earlier parts aren't counted as prompt."""
    finish_reason: str = ""
    device: str = ""
    token_ids: Sequence[int] = field(default_factory=list)
    logprobs: Sequence[float] = field(default_factory=list)
    token_lengths: Sequence[int] = field(default_factory=list)
    """Characters of the reply that came with each token."""
    continued_at: int | None = None
    """Characters of a reply that was continued, when that was first done."""

    @property
    def tokens_per_s(self) -> float:
        """Speed of decoding; 0.0 where it is not known."""
        return Timing(self.load_s, self.first_token_s, self.total_s).tokens_per_s(self.completion_tokens)


@dataclass(frozen=True, slots=True)
class ReplyInfo:
    """Both, for one reply."""

    provenance: Provenance
    outcome: Outcome


_COLUMNS = "id, conversation_id, parent_id, role, content, created_ms, updated_ms, state, error, corrects_id"


def add_user(db: Database, conversation_id: int, parent_id: int | None, content: str) -> int:
    """Store what a person said after `parent_id`, and open it. The id of its row."""
    with transaction(db):
        return _add(db, conversation_id, parent_id, "user", content, "complete")


def begin_reply(db: Database, conversation_id: int, parent_id: int | None, provenance: Provenance) -> int:
    """The row of a reply that is about to grow, opened. Its id."""
    with transaction(db):
        message_id = _add(db, conversation_id, parent_id, "assistant", "", "growing")
        templates.keep(db, provenance.template_hash, provenance.template, provenance.template_text)
        execute(
            db,
            "INSERT INTO replies (message_id, model, model_hash, adapter_hash, template_hash, sampling, seed, inputs, "
            "version, device) VALUES (?, ?, '', ?, ?, ?, ?, ?, ?, '')",
            (
                message_id,
                provenance.model,
                provenance.adapter_hash,
                provenance.template_hash,
                json.dumps(provenance.sampling, ensure_ascii=False),
                provenance.seed,
                json.dumps(provenance.inputs, ensure_ascii=False),
                provenance.version,
            ),
        )
    return message_id


def add_correction(db: Database, corrected: StoredMessage, content: str, *, row_id: int | None = None) -> int:
    """Store what a person wrote in place of a reply, beside it, and open it. `row_id` is for one that comes back."""
    with transaction(db):
        conversation_id, parent_id = corrected.conversation_id, corrected.parent_id
        message_id = _add(db, conversation_id, parent_id, "assistant", content, "complete", row_id)
        execute(db, "UPDATE messages SET corrects_id = ? WHERE id = ?", (corrected.id, message_id))
    return message_id


def _add(
    db: Database,
    conversation_id: int,
    parent_id: int | None,
    role: str,
    content: str,
    state: str,
    row_id: int | None = None,
) -> int:
    conversations.get(db, conversation_id)  # raises where there is none
    if parent_id is not None:
        _refuse_stranger(db, conversation_id, parent_id)
    now = now_ms()
    message_id = execute(
        db,
        "INSERT INTO messages (id, conversation_id, parent_id, role, content, created_ms, updated_ms, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (row_id, conversation_id, parent_id, role, content, now, now, state),
    ).lastrowid
    execute(db, "UPDATE conversations SET leaf_id = ?, updated_ms = ? WHERE id = ?", (message_id, now, conversation_id))
    return message_id or 0


def _refuse_stranger(db: Database, conversation_id: int, message_id: int) -> None:
    if get(db, message_id).conversation_id != conversation_id:
        raise StoreError(f"Message {message_id} belongs to another conversation than {conversation_id}.")


def resume_reply(db: Database, message_id: int) -> None:
    """Let a reply that has ended grow again, and note how long it was."""
    length = len(get(db, message_id).content)
    with transaction(db):
        execute(
            db, "UPDATE messages SET state = 'growing', error = '', updated_ms = ? WHERE id = ?", (now_ms(), message_id)
        )
        execute(
            db,
            "UPDATE replies SET continued_at = coalesce(continued_at, ?) WHERE message_id = ?",
            (length, message_id),
        )


def grow_reply(db: Database, message_id: int, content: str) -> None:
    """Store what has come of a reply, and that its writer lives."""
    execute(db, "UPDATE messages SET content = ?, updated_ms = ? WHERE id = ?", (content, now_ms(), message_id))


def name_adapter(db: Database, message_id: int, adapter_hash: str) -> None:
    """Store which adapter spoke, as the engine has told it."""
    execute(db, "UPDATE replies SET adapter_hash = ? WHERE message_id = ?", (adapter_hash, message_id))


def end_reply(db: Database, message_id: int, content: str, state: str, outcome: Outcome, error: str = "") -> None:
    """Store a reply as it will stay."""
    values = {name: getattr(outcome, name) for name in FIGURES if name != "continued_at"}
    values["token_data"] = pack(content, outcome.token_ids, outcome.logprobs, outcome.token_lengths)
    now = now_ms()
    with transaction(db):
        execute(
            db,
            "UPDATE messages SET content = ?, state = ?, error = ?, updated_ms = ? WHERE id = ?",
            (content, state, error, now, message_id),
        )
        execute(
            db,
            f"UPDATE replies SET {', '.join(f'{name} = ?' for name in values)} WHERE message_id = ?",
            (*values.values(), message_id),
        )
        execute(
            db,
            "UPDATE conversations SET updated_ms = ? WHERE id = (SELECT conversation_id FROM messages WHERE id = ?)",
            (now, message_id),
        )


FIGURES = [f.name for f in fields(Outcome) if f.name not in ("token_ids", "logprobs", "token_lengths")]
"""The columns of an outcome that are plain numbers and texts."""


def get(db: Database, message_id: int) -> StoredMessage:
    """One message. Raises `StoreError` where there is none."""
    rows = select(db, f"SELECT {_COLUMNS} FROM messages WHERE id = ?", (message_id,))
    if not rows:
        raise StoreError(f"There is no message {message_id}: it may have been deleted in another window.")
    return StoredMessage(*rows[0])


_PATH = """
WITH RECURSIVE path(id, parent, depth) AS (
    SELECT id, parent_id, 0 FROM messages WHERE id = ?
    UNION ALL
    SELECT m.id, m.parent_id, depth + 1 FROM messages m JOIN path ON m.id = path.parent
)
"""


def path(db: Database, leaf_id: int) -> list[StoredMessage]:
    """The messages from the root to `leaf_id`."""
    columns = ", ".join(f"m.{name}" for name in _COLUMNS.split(", "))
    rows = select(
        db, f"{_PATH} SELECT {columns} FROM path JOIN messages m ON m.id = path.id ORDER BY depth DESC", (leaf_id,)
    )
    return [StoredMessage(*row) for row in rows]


def path_with_siblings(db: Database, leaf_id: int) -> list[tuple[StoredMessage, int, int]]:
    """As `path`, each with its place among its siblings, from 1, and their number."""
    siblings = "FROM messages s WHERE s.conversation_id = m.conversation_id AND s.parent_id IS m.parent_id"
    columns = ", ".join(f"m.{name}" for name in _COLUMNS.split(", "))
    rows = select(
        db,
        f"{_PATH} SELECT {columns}, (SELECT count(*) {siblings} AND s.id <= m.id), (SELECT count(*) {siblings}) "
        "FROM path JOIN messages m ON m.id = path.id ORDER BY depth DESC",
        (leaf_id,),
    )
    return [(StoredMessage(*row[:-2]), row[-2], row[-1]) for row in rows]


def all_of(db: Database, conversation_id: int) -> list[StoredMessage]:
    """Every message of a conversation, on whatever branch, oldest first."""
    rows = select(db, f"SELECT {_COLUMNS} FROM messages WHERE conversation_id = ? ORDER BY id", (conversation_id,))
    return [StoredMessage(*row) for row in rows]


def siblings(db: Database, message_id: int) -> list[int]:
    """The ids of all messages that answer the same one, this one among them, oldest first."""
    rows = select(
        db,
        "SELECT s.id FROM messages m JOIN messages s ON s.conversation_id = m.conversation_id "
        "AND s.parent_id IS m.parent_id WHERE m.id = ? ORDER BY s.id",
        (message_id,),
    )
    return [row[0] for row in rows]


def newest_leaf(db: Database, message_id: int) -> int:
    """Where the newest branch below `message_id` ends; the message itself where nothing follows."""
    rows = select(
        db,
        "WITH RECURSIVE below(id) AS (SELECT ? UNION ALL "
        "SELECT (SELECT max(m.id) FROM messages m WHERE m.parent_id = below.id) FROM below WHERE below.id IS NOT NULL) "
        "SELECT max(id) FROM below",
        (message_id,),
    )
    return int(rows[0][0])


def open_leaf(db: Database, conversation_id: int, leaf_id: int) -> None:
    """Make the path to `leaf_id` the one that is open. Raises `StoreError` for a message of another conversation."""
    with transaction(db):
        _refuse_stranger(db, conversation_id, leaf_id)
        execute(db, "UPDATE conversations SET leaf_id = ? WHERE id = ?", (leaf_id, conversation_id))


def open_at(db: Database, conversation_id: int, message_id: int) -> None:
    """Make a path through this message the open one: the one that is open where it has it, else the newest."""
    with transaction(db):
        leaf_id = conversations.get(db, conversation_id).leaf_id
        if leaf_id is None or message_id not in (row.id for row in path(db, leaf_id)):
            open_leaf(db, conversation_id, newest_leaf(db, message_id))


def mark_interrupted(db: Database) -> int:
    """Replies whose writer died are interrupted: their text stays. How many there were."""
    cursor = execute(
        db,
        "UPDATE messages SET state = 'interrupted', error = ? WHERE state = 'growing' AND updated_ms < ?",
        ("The program ended while this reply was being written.", now_ms() - LOST_AFTER_MS),
    )
    return int(cursor.rowcount)


_REPLIES = (
    "SELECT r.message_id, r.model, t.name, t.hash, t.text, r.sampling, r.seed, r.adapter_hash, r.inputs, r.version, "
    "r.token_data, m.content, "
    f"{', '.join(f'r.{name}' for name in FIGURES)} "
    "FROM replies r JOIN templates t ON t.hash = r.template_hash JOIN messages m ON m.id = r.message_id"
)


def reply_info(db: Database, message_id: int) -> ReplyInfo:
    """What a reply was made with and how it went. Raises `StoreError` for a message that is no reply."""
    rows = select(db, f"{_REPLIES} WHERE r.message_id = ?", (message_id,))
    if not rows:
        raise StoreError(f"Message {message_id} is not a reply.")
    return _reply_info(rows[0])


def was_generated(db: Database, message_id: int) -> bool:
    """Whether a model of ours made this message, so that `reply_info` knows how. A correction wasn't, nor was what came
    from another program, even where its model is known."""
    query = "SELECT 1 FROM replies WHERE message_id = ? AND template_hash <> ?"
    return bool(select(db, query, (message_id, NO_TEMPLATE_HASH)))


def last_touched_ms(db: Database) -> int:
    """When the newest messages were said, or grew, last; 0 where there are none."""
    newest = "SELECT updated_ms FROM messages ORDER BY id DESC LIMIT 8"  # several replies may grow at once
    return int(select(db, f"SELECT coalesce(max(updated_ms), 0) FROM ({newest})")[0][0])


def replies_of(db: Database, conversation_id: int) -> dict[int, ReplyInfo]:
    """As `reply_info`, for every reply of a conversation, by the id of its message."""
    rows = select(db, f"{_REPLIES} WHERE m.conversation_id = ?", (conversation_id,))
    return {row[0]: _reply_info(row) for row in rows}


def _reply_info(row: tuple[Any, ...]) -> ReplyInfo:
    _, model, name, template_hash, text, sampling, seed, adapter_hash, inputs, version, *rest = row
    token_data, content, *values = rest
    figures = dict(zip(FIGURES, values, strict=True))
    token_ids, logprobs, token_lengths = unpack(content, token_data)
    provenance = Provenance(
        model, name, template_hash, text, json.loads(sampling), seed, adapter_hash, json.loads(inputs), version
    )
    outcome = Outcome(**figures, token_ids=token_ids, logprobs=logprobs, token_lengths=token_lengths)
    return ReplyInfo(provenance, outcome)
