"""Acts of curating, one key each: done in the log, and told in a few words. The same key again takes it back."""

from dataclasses import dataclass

from sqlite_utils import Database

from assistant.store import curation, messages
from assistant.store.curation import Decision
from assistant.store.database import transaction

TOLD = {1: "good", -1: "bad", "keep": "kept for training", "skip": "skipped in training"}


def rate(db: Database, message_id: int, rating: int) -> str:
    """Call a reply good (1) or bad (-1), or take that back where it is called so."""
    with transaction(db):
        again = curation.judgement(db, message_id).rating == rating
        curation.rate(db, message_id, 0 if again else rating)
    return "rating taken back" if again else TOLD[rating]


def decide(db: Database, message_id: int, decision: Decision) -> str:
    """Keep a reply for training or skip it, or leave it undecided where that is decided."""
    with transaction(db):
        again = curation.judgement(db, message_id).decision == decision
        curation.decide(db, message_id, "undecided" if again else decision)
    return "undecided again" if again else TOLD[decision]


def tag(db: Database, message_id: int, name: str) -> str:
    """Put a tag on a message, or take it off where it is on."""
    with transaction(db):
        again = name in curation.tags_of(db, message_id)
        (curation.untag if again else curation.tag)(db, message_id, name)
    return f"#{name} taken off" if again else f"#{name} put on"


def note(db: Database, message_id: int, text: str) -> str:
    """Write a note on a message; an empty one takes it away."""
    curation.note(db, message_id, text)
    return "note kept" if text else "note taken away"


def correct(db: Database, message_id: int, text: str) -> str:
    """Put a correction beside a reply."""
    curation.correct(db, message_id, text)
    return "corrected"


def vote(db: Database, shown: tuple[int, int], better: int | None) -> str:
    """Store a vote of two replies, shown blind in this order, and open the path through the better. None is a tie."""
    if better is None:
        curation.prefer(db, *shown, tie=True, blind=True, chosen_first=True)
        return "vote kept"
    other = shown[0] if better == shown[1] else shown[1]
    with transaction(db):
        curation.prefer(db, better, other, blind=True, chosen_first=better == shown[0])
        messages.open_at(db, messages.get(db, better).conversation_id, better)
    return "vote kept"


@dataclass(frozen=True, slots=True)
class Undone:
    """What was undone or done again, in words, and the message that it was about; None where there was nothing."""

    told: str
    message_id: int | None = None
    conversation_id: int | None = None


def undo(db: Database) -> Undone:
    """Undo the last act, of whatever conversation."""
    with transaction(db):
        told = curation.undo(db)
        return _step(db, f"undone: {told}", undone=True) if told else Undone("There is nothing to undo.")


def redo(db: Database) -> Undone:
    """Do again what was undone last."""
    with transaction(db):
        told = curation.redo(db)
        return _step(db, f"done again: {told}", undone=False) if told else Undone("There is nothing to do again.")


def _step(db: Database, told: str, *, undone: bool) -> Undone:
    message_id = curation.stepped_on(db, undone=undone)
    assert message_id is not None
    return Undone(told, message_id, messages.get(db, message_id).conversation_id)
