"""The texts of templates that replies and tests were made with, or that a person saved: what a template was before."""

from dataclasses import dataclass

from sqlite_utils import Database

from assistant.store.conversations import now_ms
from assistant.store.database import execute, select, transaction


@dataclass(frozen=True, slots=True)
class Version:
    """One text that a template had, since it was saved last or used first. `replies` and `tests` count what was made
    with it.
    """

    hash: str
    text: str
    since_ms: int
    replies: int
    tests: int


def keep(db: Database, template_hash: str, name: str, text: str) -> None:
    """Keep a text, where it isn't kept yet."""
    execute(
        db,
        "INSERT OR IGNORE INTO templates (hash, name, text, first_used_ms) VALUES (?, ?, ?, ?)",
        (template_hash, name, text, now_ms()),
    )


def save(db: Database, template_hash: str, name: str, text: str) -> None:
    """Keep a text that a person gave a template, until `forget`."""
    with transaction(db):
        keep(db, template_hash, name, text)
        execute(db, "INSERT OR REPLACE INTO template_saves VALUES (?, ?, ?)", (name, template_hash, now_ms()))


def forget(db: Database, name: str) -> None:
    """Keep the texts that a person gave a template no longer, but for those that something was made with."""
    execute(db, "DELETE FROM template_saves WHERE name = ?", (name,))


def versions(db: Database, name: str) -> list[Version]:
    """Every text that was saved or used under a name, the newest first."""
    replies = "provenances p JOIN outcomes o ON o.provenance_id = p.id WHERE p.template_hash = templates.hash"
    rows = select(
        db,
        "SELECT hash, text, coalesce(s.saved_ms, first_used_ms) AS since_ms, "
        f"(SELECT count(*) FROM {replies}), "
        "(SELECT count(*) FROM template_tests t WHERE t.template_hash = templates.hash) "
        "FROM templates LEFT JOIN template_saves s ON s.template_hash = templates.hash AND s.name = ? "
        "WHERE (templates.name = ? OR s.name IS NOT NULL) AND text != '' ORDER BY since_ms DESC, hash",
        (name, name),
    )
    return [Version(*row) for row in rows]
