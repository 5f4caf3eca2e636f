"""The texts of templates that replies and tests were made with: what a template was before."""

from dataclasses import dataclass

from sqlite_utils import Database

from assistant.store.conversations import now_ms
from assistant.store.database import execute, select


@dataclass(frozen=True, slots=True)
class Version:
    """One text that a template had. `replies` and `tests` count what was made with it."""

    hash: str
    text: str
    first_used_ms: int
    replies: int
    tests: int


def keep(db: Database, template_hash: str, name: str, text: str) -> None:
    """Keep a text, where it isn't kept yet."""
    execute(
        db,
        "INSERT OR IGNORE INTO templates (hash, name, text, first_used_ms) VALUES (?, ?, ?, ?)",
        (template_hash, name, text, now_ms()),
    )


def versions(db: Database, name: str) -> list[Version]:
    """Every text that was used under a name, the newest first."""
    replies = "provenances p JOIN outcomes o ON o.provenance_id = p.id WHERE p.template_hash = templates.hash"
    rows = select(
        db,
        f"SELECT hash, text, first_used_ms, (SELECT count(*) FROM {replies}), "
        "(SELECT count(*) FROM template_tests t WHERE t.template_hash = templates.hash) "
        "FROM templates WHERE name = ? AND text != '' ORDER BY first_used_ms DESC, hash",
        (name,),
    )
    return [Version(*row) for row in rows]
