"""Judgements, one key each: written to the log, and said in a few words. The same key again clears them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from assistant import ratings
from assistant.cli.output import counted
from assistant.store import messages
from assistant.store.database import transaction
from assistant.store.judgements import curation, curation_many
from assistant.store.judgements.curation import Decision
from assistant.store.judgements.curation_many import Change, Told, quiet

DECIDED = {"keep": "kept for training", "skip": "skipped in training"}
CLEARED = {"rating": Change("rating", ratings.NONE.number), "decision": Change("decision", "undecided")}


def rate(db: Database, message_id: int, rating: int) -> str:
    """Give a reply the rating of this number; the same again clears it."""
    with transaction(db):
        again = curation.judgement(db, message_id).rating == rating
        curation.rate(db, message_id, ratings.NONE.number if again else rating)
    return "rating cleared" if again else ratings.given(rating)


def decide(db: Database, message_id: int, decision: Decision) -> str:
    """Keep a reply for training or skip it; the same again clears it."""
    with transaction(db):
        again = curation.judgement(db, message_id).decision == decision
        curation.decide(db, message_id, "undecided" if again else decision)
    return "decision cleared" if again else DECIDED[decision]


def tag(db: Database, message_id: int, name: str) -> str:
    """Put a tag on a message; the same again takes it off."""
    with transaction(db):
        again = name in curation.tags_of(db, message_id)
        (curation.untag if again else curation.tag)(db, message_id, name)
    return f"removed #{name}" if again else f"tagged #{name}"


def note(db: Database, message_id: int, text: str) -> str:
    """Write a note on a message; an empty one takes it away."""
    curation.note(db, message_id, text)
    return "note saved" if text else "note deleted"


def correct(db: Database, message_id: int, text: str) -> str:
    """Put a correction beside a reply."""
    curation.correct(db, message_id, text)
    return "corrected"


def vote(db: Database, shown: tuple[int, int], better: int | None) -> str:
    """Store a vote of two replies, shown blind in this order, and open the path through the better. None is a tie."""
    if better is None:
        curation.prefer(db, *shown, tie=True, blind=True, chosen_first=True)
        return "vote stored"
    other = shown[0] if better == shown[1] else shown[1]
    with transaction(db):
        curation.prefer(db, better, other, blind=True, chosen_first=better == shown[0])
        messages.open_at(db, messages.get(db, better).conversation_id, better)
    return "vote stored"


def judge_many(db: Database, message_ids: Sequence[int], change: Change, told: Told = quiet) -> str:
    """Judge many replies alike, as one act; where all are judged so already, clear it."""
    if not curation_many.differing(db, message_ids, change):
        change = Change("untag", change.value) if change.what == "tag" else CLEARED[change.what]
    count = curation.judge_many(db, message_ids, change, told)
    words = {"tag": f"tagged #{change.value}", "untag": f"untagged #{change.value}"}.get(change.what)
    words = words or (ratings.given(change.value) if change.what == "rating" else DECIDED.get(change.value))
    return f"{counted(count, 'reply')} {words or 'cleared'}"


@dataclass(frozen=True, slots=True)
class Undone:
    """What was undone or redone, in words. `is_done` False: nothing. The message is None for an act of many."""

    told: str
    is_done: bool = False
    message_id: int | None = None
    conversation_id: int | None = None


def undo(db: Database, told: Told = quiet) -> Undone:
    """Undo the last judgement, of whatever conversation."""
    words = curation.undo(db, told)
    return _step(db, f"undone: {words}", undone=True) if words else Undone("There is nothing to undo.")


def redo(db: Database, told: Told = quiet) -> Undone:
    """Redo what was undone last."""
    words = curation.redo(db, told)
    return _step(db, f"redone: {words}", undone=False) if words else Undone("There is nothing to redo.")


def _step(db: Database, told: str, *, undone: bool) -> Undone:
    message_id = curation.stepped_on(db, undone=undone)
    if message_id is None:
        return Undone(told, True)
    return Undone(told, True, message_id, messages.get(db, message_id).conversation_id)
