"""The `db.sqlite` of Ollama's desktop app. Thinking goes before its reply; tools and attachments are counted."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from assistant.store.files.databases.opened import DatabaseFormat, Row, Tables, columns, tables, text_of
from assistant.store.files.transcript import THOUGHT, LeftOut, Transcript, Turn
from assistant.store.files.values.fields import count, time_ms
from assistant.store.files.values.message import ROLES

_CHAT = ("title", "created_at")
_MESSAGE = ("chat_id", "id", "role", "content", "thinking", "model_name", "created_at", "updated_at")
_BESIDE = {"attachments": "file attachments", "tool_calls": "tool calls"}


def _matches(there: Tables) -> bool:
    return {"chat_id", "role", "content"} <= there.get("messages", frozenset()) and "chats" in there


def _read(db: sqlite3.Connection) -> Iterator[Transcript | LeftOut]:
    beside = list(_beside(db))
    rows = db.execute(
        f"SELECT {columns(db, 'messages', _MESSAGE)}, {columns(db, 'chats', _CHAT)} "
        "FROM messages JOIN chats ON chats.id = chat_id ORDER BY chat_id, messages.id"
    )
    for chat_id, group in groupby(rows, key=lambda row: row[0]):
        turns: list[Turn] = []
        for row in group:
            turns += _turns(row, turns[-1].key if turns else None)
        left: Counter[str] = Counter()
        for things, counts in beside:
            count(left, things, counts.get(chat_id, 0))
        title, created = text_of(row[-2]), row[-1]
        yield Transcript(
            title or f"chat {text_of(chat_id)}",
            turns,
            title,
            not title,
            created_ms=time_ms(created),
            source="ollama",
            source_id=text_of(chat_id),
            left=left,
        )


def _beside(db: sqlite3.Connection) -> Iterator[tuple[str, dict[object, int]]]:
    """(kind of item in a separate table, its number in each chat)."""
    for table, things in _BESIDE.items():
        if "message_id" in tables(db).get(table, ()):
            query = f"SELECT chat_id, count(*) FROM {table} JOIN messages ON messages.id = message_id GROUP BY chat_id"
            yield things, dict(db.execute(query))


def _turns(row: Row, before: str | None) -> Iterator[Turn]:
    _, identity, role, content, thinking, model, created, updated, *_ = row
    key, who, time = text_of(identity), ROLES.get(text_of(role).lower(), text_of(role)[:30]), time_ms(created)
    if thought := text_of(thinking):
        yield Turn(f"{key} thought", before, THOUGHT, thought, time)
        before = f"{key} thought"
    made_by = text_of(model) if who == "assistant" else ""
    yield Turn(key, before, who, text_of(content), time, time_ms(updated), model=made_by)


APP = DatabaseFormat("ollama", "Ollama", _matches, _read, grows=True)
