"""A log of the schema before the first release, brought into the first one: in the same file, in one transaction.

Its tables are renamed, the new schema is made, and every row is copied. What is derived (exchanges, the index of words)
is made again by the new schema's triggers. `database` makes a backup first, so the log as it was stays beside it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.schema import earlier_tokens, token_data
from assistant.store.schema.migrations import migrations

STEPS = frozenset(
    {
        *("conversations_messages_and_replies", "curation_and_origin", "exchanges_and_search", "places_of_votes"),
        *("template_tests", "redaction_and_replay", "meaning_and_doubles", "provenance_told_once"),
        *("imports_under_way", "training", "sources_of_examples", "vocabularies", "saved_templates"),
        *("one_index_of_conversations", "ids_once", "datasets_of_entities", "acts_of_many"),
    }
)
"""The steps that led to the schema before the first release."""

# What is known of a message comes before it, so that the triggers make its exchange once, in its last state.
_COPIED = (
    *("conversations", "templates", "template_saves", "template_tests", "provenances", "judgements", "tags"),
    *("messages", "preferences", "acts", "acts_of_many", "doubles", "meaning_stale"),
    *("importing", "state", "placeholders", "not_personal"),
    *("datasets", "examples", "runs", "run_points", "evaluations", "adapters", "promotions"),
)
_MADE_AGAIN = ("exchanges", "messages_words")
_BEFORE = "earlier_"
_AT_ONCE = 500


def is_earlier(db: Database, path: Path | None) -> bool:
    """Whether the log has the schema before the first release. Raises `StoreError` for one older than that."""
    applied = {step.name for step in migrations.applied(db)} & STEPS
    if applied and applied != STEPS:
        raise StoreError(
            f"The log {path} was written by a development version that this version can't read. It is left as it is; "
            "set ASSISTANT_HOME to another folder."
        )
    return bool(applied)


def bring_over(db: Database) -> None:
    """Give an earlier log the first schema, in a transaction of the caller's, foreign keys not enforced."""
    _set_aside(db)
    migrations.apply(db)
    _copy_outcomes(db)
    for table in _COPIED:
        columns = ", ".join(_columns(db, table) & _columns(db, _BEFORE + table))
        db.conn.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {_BEFORE}{table}")
    # Ids that were dealt out before are not dealt out again.
    numbered = f"SELECT substr(name, {len(_BEFORE) + 1}), seq FROM sqlite_sequence WHERE name GLOB '{_BEFORE}*'"
    before = db.conn.execute(numbered).fetchall()
    db.conn.executemany("DELETE FROM sqlite_sequence WHERE name = ?", [(table,) for table, _ in before])
    db.conn.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", before)
    for table in (*_COPIED, "outcomes", "token_ids"):
        db.conn.execute(f"DROP TABLE {_BEFORE}{table}")


def _set_aside(db: Database) -> None:
    """Rename the tables with rows of their own, and drop all that was made of them."""
    made = "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')"
    for kind, name in db.conn.execute(made).fetchall():
        db.conn.execute(f"DROP {kind} IF EXISTS {name}")
    for table in _MADE_AGAIN:
        db.conn.execute(f"DROP TABLE {table}")
    for table in (*_COPIED, "outcomes", "token_ids"):
        indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
        for (index,) in db.conn.execute(indexes, (table,)).fetchall():
            db.conn.execute(f"DROP INDEX {index}")
        db.conn.execute(f"ALTER TABLE {table} RENAME TO {_BEFORE}{table}")
    db.conn.execute("DELETE FROM _sqlite_migrations WHERE migration_set = ?", (migrations.name,))


def _columns(db: Database, table: str) -> set[str]:
    return {row[1] for row in db.conn.execute(f"PRAGMA table_info({table})")}


def _copy_outcomes(db: Database) -> None:
    """Copy how each reply went, with its tokens as they are stored now."""
    columns = ", ".join(_columns(db, "outcomes") - {"token_data"})
    named = ", ".join(f"o.{name}" for name in columns.split(", "))
    marks = ", ".join("?" * (len(columns.split(", ")) + 1))
    rows = db.conn.execute(
        f"SELECT p.model_hash, m.content, o.token_ids, o.logprobs, o.token_lengths, {named} FROM {_BEFORE}outcomes o "
        f"JOIN {_BEFORE}provenances p ON p.id = o.provenance_id JOIN {_BEFORE}messages m ON m.id = o.message_id"
    )

    def known(keys: Sequence[int]) -> dict[int, int]:
        query = f"SELECT piece, id FROM {_BEFORE}token_ids WHERE piece IN (SELECT value FROM json_each(?))"
        return dict(db.conn.execute(query, (json.dumps(keys),)).fetchall())

    while some := rows.fetchmany(_AT_ONCE):
        copied = [
            (*row, token_data.pack(text, *earlier_tokens.read(known, model_hash, text, *packed)))
            for model_hash, text, *both in some
            for packed, row in [(both[:3], both[3:])]
        ]
        db.conn.executemany(f"INSERT INTO outcomes ({columns}, token_data) VALUES ({marks})", copied)
