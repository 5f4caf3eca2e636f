"""What is new in the log compared with a dataset: judged replies, and conversations unlike any of the dataset."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlite_utils import Database

from assistant.dialogue.exchange import turns_with_rows
from assistant.ratings import BAD, GOOD
from assistant.store.files.exports import stored
from assistant.store.files.exports.stored import Stored
from assistant.store.messages import StoredMessage
from assistant.store.training.datasets import StoredExample
from finetune.data import dataset
from finetune.data.example import Example, Kind
from finetune.data.select import Candidate, Selection, from_log
from finetune.data.split import grouped

if TYPE_CHECKING:
    from assistant.store.redaction.redactor import Redactor

LOG = "log:"
"""Prefix of the key of a conversation in the log."""


@dataclass(frozen=True, slots=True)
class NewInLog:
    """New replies and conversations. `judged`: counts of replies by judgement. The rest has the dataset's kind."""

    judged: Mapping[str, int]
    candidates: Sequence[Candidate] = ()
    """Examples of new conversations, without duplicates and near-duplicates of the dataset."""
    groups: Sequence[int] = ()
    """For each candidate the number of its group: its conversation and near-duplicates."""
    conversations: int = 0
    """Number of groups."""


@dataclass(slots=True)
class _Held:
    """Ids of the dataset's replies: learned or rated good, pairs of preferred and rejected, rated bad."""

    learned: set[int] = field(default_factory=set)
    pairs: set[tuple[int, int]] = field(default_factory=set)
    bad: set[int] = field(default_factory=set)


def fresh(
    db: Database, wanted: Selection, held: Sequence[StoredExample], redactor: "Redactor | None" = None
) -> NewInLog:
    """What is in the log but not in `held`. `redactor`: if `held` has placeholders for personal data."""
    known = {one.conversation for one in held}
    first: dict[Example, Candidate] = {}
    for one in from_log(db, wanted, Counter()):
        if one.conversation not in known:
            first.setdefault(one.example, one)
    found = list(first.values())
    if redactor is not None:
        found = dataset.redacted(found, redactor)
    groups = grouped(found, dataset.seen(held))
    number_of = {place: number for number, some in groups.groups.items() if number not in groups.seen for place in some}
    new = sorted(number_of)
    return NewInLog(
        judged(db, wanted, held),
        [found[place] for place in new],
        [number_of[place] for place in new],
        len(set(number_of.values())),
    )


def judged(db: Database, wanted: Selection, held: Sequence[StoredExample]) -> dict[str, int]:
    """Counts of learnable replies that `held` lacks, each counted once, except that `votes` counts pairs.

    `corrected`: corrections; `good`: rated good; `kept`: kept without a rating; `unjudged`: others that `everything`
    selects; `thumbs_down`: rated bad.
    """
    known, counts = _held(db, held), Counter[str]()
    kinds: tuple[Kind, ...] = ("supervised", "preference", "kto")
    found = {
        kind: _by_conversation(from_log(db, replace(wanted, kind=kind, template=None), Counter())) for kind in kinds
    }
    ids = sorted({one for some in found.values() for one in some})
    for conversation in stored.read(db, ids):
        here: dict[str, list[Candidate]] = {kind: found[kind].get(conversation.fields["id"], []) for kind in kinds}
        learned = {row.id: row for one in here["supervised"] for row in _learned(conversation, one)}
        counts.update(_judged_as(conversation, row) for id_, row in learned.items() if id_ not in known.learned)
        votes = {(vote.chosen_id, vote.rejected_id) for vote, _ in conversation.votes if not vote.tie}
        pairs = {(one.message_id, one.rejected_id) for one in here["preference"]}
        counts["votes"] += len((votes & pairs) - known.pairs)
        bad = {one.message_id for one in here["kto"] if not one.example.good}
        counts["thumbs_down"] += sum(_is_bad(conversation, one) for one in bad - known.bad)
    return {what: counts[what] for what in ("good", "kept", "corrected", "unjudged", "votes", "thumbs_down")}


def _judged_as(conversation: Stored, row: StoredMessage) -> str:
    judgement = conversation.judgement(row.id)
    if row.corrects_id is not None:
        return "corrected"
    return "good" if judgement.rating == GOOD.number else "kept" if judgement.decision == "keep" else "unjudged"


def _is_bad(conversation: Stored, message_id: int | None) -> bool:
    """Whether a reply is rated bad, and not only corrected."""
    return message_id is not None and conversation.judgement(message_id).rating == BAD.number


def _by_conversation(candidates: Iterable[Candidate]) -> dict[int, list[Candidate]]:
    found: dict[int, list[Candidate]] = {}
    for one in candidates:
        found.setdefault(int(one.conversation.removeprefix(LOG)), []).append(one)
    return found


def _learned(conversation: Stored, one: Candidate) -> list[StoredMessage]:
    """Replies of the log that an example imitates."""
    if one.message_id not in conversation.by_id:
        return []
    told = turns_with_rows(conversation.path_to(one.message_id))
    before = len(one.example.messages) - len(told)
    return [rows[-1] for place, (_, rows) in enumerate(told, before) if place in one.example.trained]


def _held(db: Database, examples: Sequence[StoredExample]) -> _Held:
    held = _Held()
    of_log = [one for one in examples if one.message_id is not None and one.conversation.startswith(LOG)]
    candidates = [
        Candidate(Example.from_json(one.body), one.conversation, one.message_id, one.rejected_id) for one in of_log
    ]
    there = _by_conversation(candidates)
    for conversation in stored.read(db, sorted(there)):
        for one in there[conversation.fields["id"]]:
            if one.rejected_id is not None and one.message_id is not None:
                held.pairs.add((one.message_id, one.rejected_id))
                held.bad.add(one.rejected_id)
            if one.example.good:
                held.learned |= {row.id for row in _learned(conversation, one)}
            elif one.message_id is not None:
                held.bad.add(one.message_id)
    return held
