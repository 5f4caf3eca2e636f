"""oterm's `store.db`: chats with their messages, in the schemas of all its versions."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from assistant.store.files.databases.opened import DatabaseFormat, Tables, columns, text_of
from assistant.store.files.transcript import LeftOut, Transcript, Turn
from assistant.store.files.values.fields import count
from assistant.store.files.values.message import ROLES

_AUTHORS = ROLES | {"me": "user", "ollama": "assistant"}
"""Before version 0.12 the sides had names of their own."""


def _matches(there: Tables) -> bool:
    return {"chat_id", "author", "text"} <= there.get("message", frozenset()) and "chat" in there


def _read(db: sqlite3.Connection) -> Iterator[Transcript | LeftOut]:
    chats = columns(db, "chat", ("name", "model", "system", "tools"))
    messages = columns(db, "message", ("author", "text", "images"))
    rows = db.execute(
        f"SELECT chat_id, message.rowid, {messages}, {chats} FROM message JOIN chat ON chat.id = chat_id "
        "ORDER BY chat_id, message.rowid"
    )
    for chat_id, group in groupby(rows, key=lambda row: row[0]):
        left: Counter[str] = Counter()
        turns: list[Turn] = []
        for row in group:
            _, key, author, text, images, name, model, system, tools = row
            role = _AUTHORS.get(text_of(author).lower(), text_of(author)[:30])
            turns.append(Turn(text_of(key), turns[-1].key if turns else None, role, text_of(text)))
            count(left, "image attachments", len(_list(images)))
        count(left, "'tools' fields", int(bool(_list(tools))))
        title = text_of(name)
        yield Transcript(
            title or f"chat {text_of(chat_id)}",
            turns,
            title,
            not title,
            model=text_of(model),
            system=text_of(system),
            source="oterm",
            left=left,
        )


def _list(text: object) -> list[object]:
    try:
        value = json.loads(text) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return []
    return value if isinstance(value, list) else []


STORE = DatabaseFormat("oterm", "oterm", _matches, _read)
