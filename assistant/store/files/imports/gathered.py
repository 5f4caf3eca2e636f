"""Messages without a conversation around them, kept on disk until the whole file is read: their order is free."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any


class Gathered:
    """Messages by their format and conversation. `close` deletes them."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # a temporary file
        self._db.execute("CREATE TABLE messages (format TEXT, key TEXT, place TEXT, value TEXT)")

    def close(self) -> None:
        self._db.close()

    def add(self, format_: str, key: str, value: Mapping[str, Any], place: str) -> None:
        """Keep a message of the conversation `key`."""
        key = key.encode("utf-8", "replace").decode()
        self._db.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", (format_, key, place, json.dumps(value)))

    def groups(self) -> Iterator[tuple[str, str, list[Any]]]:
        """(format, place of the first message, messages) of each conversation, in the order of their first messages."""
        self._db.execute("CREATE INDEX by_key ON messages (format, key)")
        groups = "SELECT format, key, min(rowid), place FROM messages GROUP BY format, key ORDER BY min(rowid)"
        rows = "SELECT value FROM messages WHERE format = ? AND key = ? ORDER BY rowid"
        for format_, key, _, place in self._db.execute(groups).fetchall():
            yield format_, place, [json.loads(value) for (value,) in self._db.execute(rows, (format_, key))]
