"""Conversations: the list, what each is set to, and what was typed but not sent."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.database import execute, select

TITLE_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row of the list. `leaf_id` is the last message of the open path, None while nothing was said."""

    id: int
    title: str
    title_is_automatic: bool
    created_ms: int
    updated_ms: int
    pinned: bool
    model: str
    template: str
    inputs: dict[str, str]
    sampling: dict[str, Any]
    leaf_id: int | None
    adapter: str | None = None
    """Name of the adapter it is set to, empty for the base alone; None: what is in use for the model."""


_COLUMNS = (
    "id, title, title_is_automatic, created_ms, updated_ms, pinned, model, template, inputs, sampling, leaf_id, adapter"
)
_ORDER = "pinned DESC, updated_ms DESC, id DESC"


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def create(
    db: Database,
    *,
    model: str = "",
    template: str = "",
    inputs: Mapping[str, str] | None = None,
    sampling: Mapping[str, Any] | None = None,
    adapter: str | None = None,
) -> Conversation:
    """A new, empty conversation."""
    now = now_ms()
    cursor = execute(
        db,
        "INSERT INTO conversations (created_ms, updated_ms, model, template, inputs, sampling, adapter) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (now, now, model, template, _json(inputs or {}), _json(sampling or {}), adapter),
    )
    return get(db, cursor.lastrowid or 0)


def get(db: Database, conversation_id: int) -> Conversation:
    """The conversation of that id, deleted or not. Raises `StoreError` where there is none."""
    rows = select(db, f"SELECT {_COLUMNS} FROM conversations WHERE id = ?", (conversation_id,))
    if not rows:
        raise StoreError(f"There is no conversation {conversation_id}. `assistant log list` shows those there are.")
    return _conversation(rows[0])


def latest(db: Database) -> Conversation | None:
    """The one in which something was said last."""
    rows = select(
        db, f"SELECT {_COLUMNS} FROM conversations WHERE deleted_ms IS NULL ORDER BY updated_ms DESC, id DESC LIMIT 1"
    )
    return _conversation(rows[0]) if rows else None


def count(db: Database, search: str = "") -> int:
    """How many conversations are listed, of those whose title holds `search`."""
    where, values = _listed(search)
    return int(select(db, f"SELECT count(*) FROM conversations WHERE {where}", values)[0][0])


def page(
    db: Database, offset: int, limit: int, search: str = "", among: tuple[str, tuple[Any, ...]] | None = None
) -> list[Conversation]:
    """`limit` conversations of the list from `offset`: pinned ones first, then the newest first.

    `among` is SQL that selects ids, with its values, such as `exchanges.conversations` gives.
    """
    where, values = _listed(search)
    if among is not None:
        where, values = f"{where} AND id IN ({among[0]})", (*values, *among[1])
    rows = select(
        db,
        f"SELECT {_COLUMNS} FROM conversations WHERE {where} ORDER BY {_ORDER} LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    return [_conversation(row) for row in rows]


def _listed(search: str) -> tuple[str, tuple[Any, ...]]:
    if not search:
        return "deleted_ms IS NULL", ()
    pattern = re.sub(r"([%_\\])", r"\\\1", search)
    return "deleted_ms IS NULL AND title LIKE ? ESCAPE '\\'", (f"%{pattern}%",)


def rename(db: Database, conversation_id: int, title: str) -> None:
    """Give it a title that stays; an empty one makes the automatic one possible again."""
    title = " ".join(title.split())
    _set(db, conversation_id, title=title, title_is_automatic=int(not title))


def title_from(db: Database, conversation_id: int, text: str) -> None:
    """Title it by the first words of `text`, unless a person has named it."""
    if get(db, conversation_id).title_is_automatic:
        _set(db, conversation_id, title=title_of(text))


def title_of(text: str) -> str:
    """The first sentence of the first line that says something, cut at a word."""
    lines = [stripped for line in text.splitlines() if (stripped := line.strip().lstrip("#>*-` ").strip())]
    first = " ".join(lines[0].split()) if lines else ""
    first = re.split(r"(?<=[.!?])\s|(?<=[。！？])", first, maxsplit=1)[0].rstrip(".。")
    if len(first) <= TITLE_CHARACTERS:
        return first
    cut = first[:TITLE_CHARACTERS]
    return (cut.rsplit(" ", 1)[0] if " " in cut[20:] else cut).rstrip(" ,;:，；：") + "…"


def pin(db: Database, conversation_id: int, pinned: bool) -> None:
    """Keep it on top of the list, or no longer."""
    _set(db, conversation_id, pinned=int(pinned))


def configure(
    db: Database,
    conversation_id: int,
    *,
    model: str | None = None,
    template: str | None = None,
    inputs: Mapping[str, str] | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> None:
    """Set what its next replies are made with; None leaves a value as it is."""
    given = {
        "model": model,
        "template": template,
        "inputs": None if inputs is None else _json(inputs),
        "sampling": None if sampling is None else _json(sampling),
    }
    _set(db, conversation_id, **{name: value for name, value in given.items() if value is not None})


def pick_adapter(db: Database, conversation_id: int, name: str | None) -> None:
    """Set its next replies to an adapter, with an empty name to the base; None: to what is in use for the model."""
    _set(db, conversation_id, adapter=name)


def delete(db: Database, conversation_id: int) -> None:
    """Hide it, until `restore` or `deletion.purge_hidden`."""
    _set(db, conversation_id, deleted_ms=now_ms())


def restore(db: Database, conversation_id: int) -> None:
    """Undo `delete`."""
    _set(db, conversation_id, deleted_ms=None)


def set_draft(db: Database, conversation_id: int | None, text: str) -> None:
    """Keep what was typed but not sent; None is the conversation that has not begun."""
    if conversation_id is None:
        remember(db, "draft", text)
    else:
        _set(db, conversation_id, draft=text)


def get_draft(db: Database, conversation_id: int | None) -> str:
    """What was typed but not sent, empty if nothing."""
    if conversation_id is None:
        return recall(db, "draft")
    rows = select(db, "SELECT draft FROM conversations WHERE id = ?", (conversation_id,))
    return str(rows[0][0]) if rows else ""


def remember(db: Database, key: str, value: str) -> None:
    """Keep a small fact, such as the model chosen last."""
    execute(db, "INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (key, value))


def recall(db: Database, key: str) -> str:
    """A fact kept by `remember`, empty if there is none."""
    rows = select(db, "SELECT value FROM state WHERE key = ?", (key,))
    return str(rows[0][0]) if rows else ""


def _set(db: Database, conversation_id: int, **values: Any) -> None:
    if not values:
        return
    assignments = ", ".join(f"{name} = ?" for name in values)
    execute(db, f"UPDATE conversations SET {assignments} WHERE id = ?", (*values.values(), conversation_id))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False)


def _conversation(row: tuple[Any, ...]) -> Conversation:
    identity, title, automatic, created, updated, pinned, model, template, inputs, sampling, leaf, adapter = row
    return Conversation(
        id=identity,
        title=title,
        title_is_automatic=bool(automatic),
        created_ms=created,
        updated_ms=updated,
        pinned=bool(pinned),
        model=model,
        template=template,
        inputs=json.loads(inputs),
        sampling=json.loads(sampling),
        leaf_id=leaf,
        adapter=adapter,
    )
