"""Blind votes between a model alone and the model with an adapter."""

from dataclasses import dataclass

from sqlite_utils import Database

from assistant.store.database import select


@dataclass(frozen=True, slots=True)
class Vote:
    """`won`: 1 where the adapter's reply was preferred, 0 where the base's was, 0.5 for a tie."""

    conversation_id: int
    won: float


def against_base(db: Database, model: str, adapter_hash: str) -> list[Vote]:
    """Every vote, oldest first, in which the makers were hidden and both replies had the same template."""
    rows = select(
        db,
        "SELECT m.conversation_id, CASE WHEN p.tie THEN 0.5 ELSE chosen.adapter_hash = ? END FROM preferences p "
        "JOIN replies chosen ON chosen.message_id = p.chosen_id "
        "JOIN replies rejected ON rejected.message_id = p.rejected_id "
        "JOIN messages m ON m.id = p.chosen_id JOIN conversations c ON c.id = m.conversation_id "
        "WHERE p.blind AND c.deleted_ms IS NULL AND chosen.model = ? AND rejected.model = ? "
        "AND chosen.template_hash = rejected.template_hash "
        "AND ((chosen.adapter_hash = ? AND rejected.adapter_hash = '') "
        "OR (chosen.adapter_hash = '' AND rejected.adapter_hash = ?)) ORDER BY p.id",
        (adapter_hash, model, model, adapter_hash, adapter_hash),
    )
    return [Vote(row[0], float(row[1])) for row in rows]
