"""Personal data taken out of the log itself: rows, index, journal, and the bytes that are left of them. For good."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, upkeep
from assistant.store.database import execute, path_of, select, transaction
from assistant.store.deletion import copies, erase_unused
from assistant.store.judgements.curation import TAG_CHARACTERS
from assistant.store.redaction.exported import JSON, TEXTS
from assistant.store.redaction.redactor import Redactor, forget

_JSON = (*JSON, "before", "after", "settings", "report", "body")
"""Columns that hold JSON: the texts in it are redacted."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done. `erased` is False where another program kept the old bytes from being overwritten."""

    values: int
    places: int
    conversations: int
    erased: bool
    copies: list[Path]
    """Files beside the log that may still hold them."""


def apply(db: Database, ids: Iterable[int], redactor: Redactor, *, whole: bool) -> Applied:
    """Rewrite these conversations with placeholders; with `whole` they are all, and what belongs to none is done too.

    All or nothing, and it can't be undone. Tokens and probabilities of a reply that changed go, as they would give its
    text back. After the whole log nothing tells any more which value a placeholder stands for. Raises `StoreError`
    while a reply is being written.
    """
    with transaction(db):
        if growing := select(db, "SELECT id FROM messages WHERE state = 'growing' LIMIT 1"):
            raise StoreError(f"Reply {growing[0][0]} is still being written; stop it or wait for its end.")
        changed = sum(_conversation(db, one, redactor) for one in ids)
        erase_unused(db)  # what replies were made with before, unless others still are
        if whole:
            _elsewhere(db, redactor)
        values, places = len(redactor.used), redactor.count
        if whole:
            forget(db, redactor)
    erased = not places or _erase(db)
    return Applied(values, places, changed, erased, copies(db))


def _conversation(db: Database, conversation_id: int, redact: Redactor) -> bool:
    before = redact.count
    # The model's name stays: a reply is asked of it.
    names = [name for name in (*TEXTS, *JSON) if name != "model"]
    _rewrite(db, "conversations", "id", conversation_id, names, redact)
    for (message_id,) in select(db, "SELECT id FROM messages WHERE conversation_id = ?", (conversation_id,)):
        _message(db, message_id, redact)
        for column in ("message_id", "rejected_id"):
            _examples(db, column, message_id, redact)
    mine = "SELECT DISTINCT r.template_hash FROM replies r JOIN messages m ON m.id = r.message_id"
    for (template_hash,) in select(db, f"{mine} WHERE m.conversation_id = ?", (conversation_id,)):
        _rewrite(db, "templates", "hash", template_hash, ("text",), redact)
    return redact.count > before


def _message(db: Database, message_id: int, redact: Redactor) -> None:
    said = _rewrite(db, "messages", "id", message_id, ("content", "error"), redact)
    made = _rewrite(db, "replies", "message_id", message_id, JSON, redact)
    if said:
        execute(
            db,
            "UPDATE replies SET token_data = x'' WHERE message_id = ?",
            (message_id,),
        )
    if said or made:
        execute(db, "UPDATE messages SET redacted = 1 WHERE id = ?", (message_id,))
    _rewrite(db, "judgements", "message_id", message_id, ("note",), redact)
    for (tag,) in select(db, "SELECT tag FROM tags WHERE message_id = ?", (message_id,)):
        if (new := redact(tag)[:TAG_CHARACTERS]) != tag:
            execute(db, "DELETE FROM tags WHERE message_id = ? AND tag = ?", (message_id, tag))
            execute(db, "INSERT OR IGNORE INTO tags VALUES (?, ?)", (message_id, new))
    acts = "SELECT id FROM acts WHERE message_id = ?1 UNION SELECT act_id FROM acts_of_many WHERE message_id = ?1"
    for (act_id,) in select(db, acts, (message_id,)):
        _rewrite(db, "acts", "id", act_id, ("before", "after"), redact)


def _examples(db: Database, column: str, value: int | None, redact: Redactor) -> None:
    """What datasets hold of a message, or with None of files. An adapter that learned from it keeps what it learned."""
    for (example_id,) in select(db, f"SELECT id FROM examples WHERE {column} IS ?", (value,)):
        if _rewrite(db, "examples", "id", example_id, ("body", "said"), redact):
            body = select(db, "SELECT body FROM examples WHERE id = ?", (example_id,))[0][0]
            digest = hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
            execute(db, "UPDATE examples SET hash = ? WHERE id = ?", (digest, example_id))


def _rewrite(db: Database, table: str, key: str, value: Any, columns: Iterable[str], redact: Redactor) -> bool:
    """Redact these columns of one row. Whether any changed."""
    names = list(columns)
    rows = select(db, f"SELECT {', '.join(names)} FROM {table} WHERE {key} = ?", (value,))
    new: dict[str, str] = {}
    for name, text in zip(names, rows[0] if rows else (), strict=False):
        clean = redact.in_json(text) if name in _JSON else redact(text)
        if clean != text:
            new[name] = clean
    if new:
        assignments = ", ".join(f"{name} = ?" for name in new)
        execute(db, f"UPDATE {table} SET {assignments} WHERE {key} = ?", (*new.values(), value))
    return bool(new)


def _elsewhere(db: Database, redact: Redactor) -> None:
    """What was typed before a conversation had begun, examples from files, templates that only a deleted one used."""
    conversations.remember(db, "draft", redact(conversations.recall(db, "draft")))
    _examples(db, "message_id", None, redact)
    for (template_hash,) in select(db, "SELECT hash FROM templates"):
        _rewrite(db, "templates", "hash", template_hash, ("text",), redact)
    for (test_id,) in select(db, "SELECT id FROM template_tests"):
        _rewrite(db, "template_tests", "id", test_id, ("data", "settings", "report"), redact)


def _erase(db: Database) -> bool:
    """Overwrite what is left of the old texts: in the index, in free pages and in the -wal file. Whether that is done.

    Written anew as a whole, the file has no free pages; the -wal is emptied unless another program is reading it.
    """
    if path_of(db) == "in memory":
        return True
    upkeep.vacuum(db)
    busy, *_ = select(db, "PRAGMA wal_checkpoint(TRUNCATE)")[0]
    return not busy
