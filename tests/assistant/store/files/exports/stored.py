"""A log as tests compare it: short, without ids and times."""

from dataclasses import dataclass, field

from sqlite_utils import Database

from assistant.store import messages
from assistant.store.judgements import curation


@dataclass
class Stored:
    """One conversation. `said`: (number of the message it answers, role, content), numbers from 0."""

    said: list[tuple[int | None, str, str]]
    title: str = ""
    system: str = ""
    source: str = ""
    open: str = ""
    """What the last message of the open path says."""
    votes: list[tuple[str, str]] = field(default_factory=list)
    """(chosen, rejected); a tie has an equals sign before both."""
    judged: dict[str, tuple[object, ...]] = field(default_factory=dict)
    """Content -> what is there of rating, decision, note and tags."""
    models: dict[str, str] = field(default_factory=dict)


def stored(db: Database, number: int = 1) -> Stored:
    """The conversation of that number, in the order in which they came in."""
    row = list(db.query("SELECT * FROM conversations ORDER BY id"))[number - 1]
    rows = messages.all_of(db, row["id"])
    numbers = {one.id: place for place, one in enumerate(rows)}
    contents = {one.id: one.content for one in rows}
    judged = curation.judgements_of(db, row["id"])
    votes = [one for one in curation.preferences(db) if one.chosen_id in contents]
    replies = [one for one in rows if one.role == "assistant"]
    made = {one.content: messages.reply_info(db, one.id).provenance.model for one in replies if _is_made(db, one.id)}
    return Stored(
        [(None if one.parent_id is None else numbers[one.parent_id], one.role, one.content) for one in rows],
        row["title"],
        row["system"],
        row["source"],
        contents.get(row["leaf_id"], ""),
        [(f"{'=' * one.tie}{contents[one.chosen_id]}", f"{'=' * one.tie}{contents[one.rejected_id]}") for one in votes],
        {contents[key]: _judged(one) for key, one in judged.items()},
        made,
    )


def _judged(one: curation.Judgement) -> tuple[object, ...]:
    return tuple(filter(None, (one.rating, one.decision.replace("undecided", ""), one.note, one.tags)))


def _is_made(db: Database, message_id: int) -> bool:
    return bool(db.execute("SELECT 1 FROM replies WHERE message_id = ?", (message_id,)).fetchone())
