"""The `logs.db` of simonw/llm: its responses table (0.4 and newer), the log before that, and the message store of 0.32.

A thread of the message store is one conversation, with every branch that its turns made; a log upgraded to 0.32 has
both kinds. Reasoning goes before its reply; tools and attachments are left
out and counted; what fragments lent a prompt is part of it.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from assistant.store.files.databases.opened import DatabaseFormat, Row, Tables, columns, tables, text_of
from assistant.store.files.transcript import THOUGHT, LeftOut, Transcript, Turn
from assistant.store.files.values.content import thing_of
from assistant.store.files.values.fields import count, time_ms
from assistant.store.messages import NO_TEMPLATE_HASH, Outcome, Provenance


def _matches(there: Tables) -> bool:
    old = "responses" in there and "prompt" in there["responses"]
    new = {"turns", "threads", "messages", "parts"} <= there.keys()
    return old or new or any("prompt" in there.get(name, ()) for name in ("log", "logs"))


def _read(db: sqlite3.Connection) -> Iterator[Transcript | LeftOut]:
    there = tables(db)
    if {"turns", "threads", "messages", "parts"} <= there.keys():
        yield from _threads(db)
    if {"responses", "conversations"} <= there.keys():
        yield from _responses(db)
    for name in ("log", "logs"):
        if name in there:
            yield from _first_log(db, name)


# -- responses: 0.4 to 0.31 ------------------------------------------------------------------------------------------

_RESPONSE = [
    "id",
    "conversation_id",
    "model",
    "prompt",
    "system",
    "options_json",
    "response",
    "duration_ms",
    "datetime_utc",
    "input_tokens",
    "output_tokens",
    "reasoning",
]


def _responses(db: sqlite3.Connection) -> Iterator[Transcript | LeftOut]:
    rows = db.execute(
        f"SELECT {columns(db, 'responses', _RESPONSE)}, c.name FROM responses "
        "LEFT JOIN conversations c ON c.id = responses.conversation_id "
        "ORDER BY responses.conversation_id, responses.datetime_utc, responses.id"
    )
    lent = _Fragments(db)
    for (conversation_id, alone), group in groupby(rows, key=lambda row: (row[1], row[1] is None and row[0])):
        responses = list(group)
        left: Counter[str] = Counter()
        turns: list[Turn] = []
        for row in responses:
            turns += _exchange(row, turns[-1].key if turns else None, lent, left)
        title = text_of(responses[0][-1])
        yield Transcript(
            title or f"conversation {conversation_id or alone}",
            turns,
            title,
            not title,
            source="llm",
            source_id=text_of(conversation_id),
            left=left,
        )


def _exchange(row: Row, before: str | None, lent: "_Fragments", left: Counter[str]) -> Iterator[Turn]:
    """Prompt and response of one row."""
    (name, _, model, prompt, system, options, response, duration_ms, when, asked, said, reasoning, _) = row
    key, time = text_of(name), time_ms(when)
    system_texts = [*lent.of("system_fragments", name), text_of(system)]
    if any(system_texts):
        yield Turn(f"{key} system", before, "system", "\n\n".join(filter(None, system_texts)), time)
        before = f"{key} system"
    prompts = [*lent.of("prompt_fragments", name), text_of(prompt)]
    yield Turn(f"{key} prompt", before, "user", "\n\n".join(filter(None, prompts)), time)
    before = f"{key} prompt"
    if text := text_of(reasoning):
        yield Turn(f"{key} reasoning", before, THOUGHT, text, time)
        before = f"{key} reasoning"
    count(left, "attachments", lent.count("prompt_attachments", name))
    count(left, "tool calls", lent.count("tool_calls", name))
    yield _reply(key, before, text_of(response), time, text_of(model), options, (asked, said, duration_ms))


def _reply(
    key: str, before: str | None, text: str, time: int | None, model: str, options: Any, figures: Sequence[Any]
) -> Turn:
    asked, said, duration_ms = (one if isinstance(one, int) and 0 <= one < 2**53 else 0 for one in figures)
    ended = None if time is None else time + duration_ms
    return Turn(
        key,
        before,
        "assistant",
        text,
        time,
        ended,
        model=model,
        provenance=Provenance(model, "", NO_TEMPLATE_HASH, "", _object(options), None),
        outcome=Outcome(prompt_tokens=asked, completion_tokens=said, total_s=duration_ms / 1000),
    )


def _object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class _Fragments:
    """What prompts borrowed, and what they had beside text, by the id of the response."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._there = tables(db)

    def of(self, table: str, response_id: Any) -> list[str]:
        """The texts of the fragments, in order."""
        if table not in self._there or "fragments" not in self._there:
            return []
        rows = self._db.execute(
            f"SELECT f.content FROM {table} p JOIN fragments f ON f.id = p.fragment_id WHERE p.response_id = ? "
            'ORDER BY p."order"',
            (response_id,),
        )
        return [text_of(row[0]) for row in rows]

    def count(self, table: str, response_id: Any) -> int:
        if table not in self._there:
            return 0
        return int(
            self._db.execute(f"SELECT count(*) FROM {table} WHERE response_id = ?", (response_id,)).fetchone()[0]
        )


# -- the log before 0.4 ----------------------------------------------------------------------------------------------


def _first_log(db: sqlite3.Connection, table: str) -> Iterator[Transcript]:
    """A row an exchange; `chat_id` is the id of the row with which its chat began."""
    wanted = ["id", "chat_id", "model", "prompt", "system", "response", "duration_ms"]
    there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    time = next((name for name in ("datetime_utc", "timestamp_utc", "timestamp") if name in there), "NULL")
    chosen = columns(db, table, wanted)
    own = f"{table}.id" if "id" in there else "rowid"
    chat = f"coalesce({table}.chat_id, {own})" if "chat_id" in there else own
    rows = db.execute(f"SELECT {chosen}, {time}, {chat} FROM {table} ORDER BY {chat}, {own}")
    for chat_id, group in groupby(rows, key=lambda row: row[-1]):
        turns: list[Turn] = []
        for number, (_, _, model, prompt, system, response, duration_ms, when, _) in enumerate(group):
            row = (
                f"{chat_id}.{number}",
                None,
                model,
                prompt,
                system,
                None,
                response,
                duration_ms,
                when,
                0,
                0,
                None,
                None,
            )
            turns += _exchange(row, turns[-1].key if turns else None, _NOTHING_LENT, Counter())
        yield Transcript(f"chat {chat_id}", turns, source="llm", source_id=text_of(chat_id))


_NOTHING_LENT = _Fragments.__new__(_Fragments)
_NOTHING_LENT._there = {}


# -- the message store of 0.32 ---------------------------------------------------------------------------------------

_CHAIN = """
WITH RECURSIVE chain(hash) AS (
    SELECT tip_message_hash FROM turns WHERE thread_id = :thread
    UNION SELECT tip_message_hash FROM threads WHERE id = :thread
    UNION SELECT m.parent_hash FROM messages m JOIN chain ON m.hash = chain.hash WHERE m.parent_hash IS NOT NULL
)
SELECT m.hash, m.parent_hash, m.role, p.type, p.text, p.payload
FROM chain JOIN messages m ON m.hash = chain.hash LEFT JOIN parts p ON p.message_hash = m.hash
ORDER BY m.rowid, p.position
"""
_TURN = ["tip_message_hash", "model", "options_json", "input_tokens", "output_tokens", "duration_ms", "datetime_utc"]


def _threads(db: sqlite3.Connection) -> Iterator[Transcript]:
    for name, title, tip, when in db.execute(
        "SELECT id, name, tip_message_hash, datetime_utc FROM threads ORDER BY id"
    ):
        left: Counter[str] = Counter()
        made = {
            row[0]: row[1:]
            for row in db.execute(f"SELECT {columns(db, 'turns', _TURN)} FROM turns WHERE thread_id = ?", (name,))
        }
        rows = db.execute(_CHAIN, {"thread": name})
        turns = [
            turn
            for (key, parent, role), parts in groupby(rows, key=lambda row: row[:3])
            for turn in _message(text_of(key), parent, text_of(role), parts, made.get(key), db, left)
        ]
        title = text_of(title)
        yield Transcript(
            title or f"thread {name}",
            turns,
            title,
            not title,
            created_ms=time_ms(when),
            source="llm",
            source_id=text_of(name),
            leaf=text_of(tip),
            left=left,
        )


def _message(
    key: str,
    parent: Any,
    role: str,
    parts: Iterable[Row],
    made: Row | None,
    db: sqlite3.Connection,
    left: Counter[str],
) -> Iterator[Turn]:
    """The turns of one message: what was said, and before it what was thought."""
    said: dict[str, list[str]] = {"text": [], "reasoning": []}
    for *_, kind, text, payload in parts:
        if kind in said:
            said[kind].append(text_of(text) or _pieces(_object(payload), db))
        elif kind is not None:
            count(left, thing_of(text_of(kind)) or "parts without text")
    before = None if parent is None else text_of(parent)
    if thought := "\n\n".join(filter(None, said["reasoning"])):
        yield Turn(f"{key} reasoning", before, THOUGHT, thought)
        before = f"{key} reasoning"
    text = "\n\n".join(filter(None, said["text"]))
    if role != "assistant" or made is None:
        yield Turn(key, before, role, text)
        return
    model, options, asked, answered, duration_ms, when = made
    yield _reply(key, before, text, time_ms(when), text_of(model), options, (asked, answered, duration_ms))


def _pieces(payload: dict[str, Any], db: sqlite3.Connection) -> str:
    """A text that borrows from fragments, whole."""
    pieces = payload.get("text_ref")
    texts = []
    for piece in pieces if isinstance(pieces, list) else []:
        if isinstance(piece, dict) and isinstance(piece.get("literal"), str):
            texts.append(piece["literal"])
        elif isinstance(piece, dict) and isinstance(piece.get("fragment"), int) and abs(piece["fragment"]) < 2**63:
            row = db.execute("SELECT content FROM fragments WHERE id = ?", (piece["fragment"],)).fetchone()
            texts.append(text_of(row[0]) if row else "")
    return "".join(texts)


LOGS = DatabaseFormat("llm", "llm", _matches, _read)
