"""Select candidates from the log: which replies are learned, which are context, and where each came from."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from statistics import median

from sqlite_utils import Database

from assistant import ratings
from assistant.dialogue.exchange import turns, turns_with_rows
from assistant.store import conversations, messages
from assistant.store.database import select
from assistant.store.files.exports import kto, preference, stored
from assistant.store.files.exports.stored import Stored
from assistant.store.judgements.curation import Judgement
from assistant.store.messages import StoredMessage
from assistant.store.search import search
from assistant.store.search.filter import EVERYTHING, Filter
from finetune.data.example import Example, Kind, labelled
from prompts import reasoning
from prompts import template as templates
from prompts.errors import PromptError
from prompts.message import Message
from prompts.render import render
from prompts.template import Template


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example that may become part of a dataset."""

    example: Example
    conversation: str
    """Key of the conversation: a conversation is in one part only, and after being tested in no training part."""
    message_id: int | None = None
    """Id of the example's last reply; None if it came from a file."""
    rejected_id: int | None = None
    said: str = ""
    """Text to find near-duplicates by, where a template surrounds it; empty: the example's own text."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to learn from a log. `everything`: also replies without a judgement, but none that are bad or skipped."""

    kind: Kind = "supervised"
    filter: Filter = EVERYTHING
    everything: bool = False
    template: Template | None = None
    """Template for the kind `label`: the question and the classes."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Values of the template's inputs."""
    words: str = ""
    """Full-text query that a reply or its prompt must match."""


# Reasons to leave out a reply, printed after a count: "2 skipped".
_RATED = {one.number: f"rated {one.word}" for one in ratings.EVERY if one not in (ratings.GOOD, ratings.NONE)}
"""Ratings that a reply isn't learned with, as reasons."""
SKIPPED, CORRECTED, EMPTY = "skipped", "corrected", "empty"
OTHER_VERSION, NO_QUESTION, JOINED = "in other versions", "without a question", "joined to another reply"
SEVERAL_CLASSES, UNENDED = "tagged with several classes", "with reasoning that never ended"
STATES = {"cut": "cut off", "stopped": "stopped", "failed": "failed", "interrupted": "interrupted"}
"""State of an unfinished reply -> the reason."""
REASONS = frozenset(
    [
        *(SKIPPED, CORRECTED, EMPTY, OTHER_VERSION, NO_QUESTION, JOINED, SEVERAL_CLASSES, UNENDED),
        *(*_RATED.values(), *STATES.values()),
    ]
)

_FIRST = {"preference": "pairs", "kto": "rated", "label": "tagged"}
_ONE = {"pairs": "pair", "replies": "reply"}


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of replies (pairs, for preferences) that a selection takes, and that it leaves out by reason."""

    used: int
    left: Mapping[str, int]
    conversations: frozenset[str] = frozenset()
    """Keys of the conversations whose replies are used."""
    tokens: float = 0.0
    """Estimated tokens learned from a conversation, the median."""

    @property
    def total(self) -> int:
        """Replies used and left out."""
        return self.used + sum(self.left.values())

    def words(self, wanted: Selection) -> str:
        """`60 judged · 58 used · 1 failed · 1 skipped`."""
        first = _FIRST.get(wanted.kind, "replies" if wanted.everything else "judged")
        reasons = [(number, reason) for reason, number in self.left.items() if number]
        first = _ONE.get(first, first) if self.total == 1 else first
        counted = [(self.total, first), (self.used, "used"), *sorted(reasons, reverse=True)]
        return " · ".join(f"{number:,} {what}" for number, what in counted)


def count(db: Database, wanted: Selection) -> Counts:
    """Count what `from_log` takes and leaves out: about 1.5 s for 129,000 messages."""
    left: Counter[str] = Counter()
    replies, tokens = Counter[str](), Counter[str]()
    for one in from_log(db, wanted, left):
        replies[one.conversation] += used([one], wanted.kind)
        tokens[one.conversation] += sum(
            tokens_about(one.example.messages[place].content) for place in one.example.trained
        )
    return Counts(replies.total(), left, frozenset(replies), median(tokens.values()) if tokens else 0.0)


def tokens_about(text: str) -> int:
    """Estimated number of tokens. The default model's tokens have 4 English letters on average, and a Chinese
    character has 1.75 tokens.
    """
    ascii_ = len(text.encode("ascii", "ignore"))
    return round(ascii_ / 4 + 1.75 * (len(text) - ascii_))


def used(candidates: Iterable[Candidate], kind: Kind) -> int:
    """Number of replies learned from candidates; in kinds other than supervised each candidate is one reply."""
    return sum(len(one.example.trained) if kind == "supervised" else 1 for one in candidates)


def from_log(
    db: Database, wanted: Selection, left: Counter[str], progress: Callable[[int, int], None] = lambda *_: None
) -> Iterator[Candidate]:
    """Candidates of all conversations, oldest first. Counts replies left out in `left`, by reason. `progress` is called
    with the number of conversations read and the number of all.
    """
    among = search.all_replies(db, wanted.words, wanted.filter) if wanted.words else None
    ids = _conversations(db, wanted)
    for done, conversation in enumerate(stored.read(db, ids, filter_=wanted.filter, among=among)):
        progress(done, len(ids))
        for one in _OF_KIND[wanted.kind](conversation, wanted, left):
            if all(map(partial(_asked_before, one.example.messages), one.example.trained)):
                yield one
            else:
                left[NO_QUESTION] += 1


def reply(db: Database, message_id: int) -> Candidate:
    """A reply with its conversation, regardless of its judgement. Raises `StoreError` if there is none."""
    row = messages.get(db, message_id)
    (conversation,) = stored.read(db, [row.conversation_id])
    return _reply(conversation, row)


def _conversations(db: Database, wanted: Selection) -> list[int]:
    """Ids of conversations that may hold candidates; judged replies are looked up by index."""
    if wanted.kind == "supervised" and not wanted.everything:
        rows = select(db, "SELECT DISTINCT conversation_id FROM exchanges WHERE hidden = 0 AND judged = 1")
        return sorted(row[0] for row in rows)
    return sorted(one.id for one in conversations.page(db, 0, -1))


def _asked_before(messages: Sequence[Message], place: int) -> bool:
    """Whether the message before the reply is the user's, as the engine requires."""
    return place > 0 and messages[place - 1].role == "user"


# -- replies to imitate -------------------------------------------------------------------------------------------


def _supervised(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:
    learned = _learned(conversation, wanted, left)
    taught: set[int] = set()
    for path in conversation.paths_to(learned):
        new = [row for row in path if row.id in learned and row.id not in taught]
        taught.update(row.id for row in new)
        if new:
            yield from _replies(conversation, path[: path.index(new[-1]) + 1], {row.id for row in new}, left)


def _learned(conversation: Stored, wanted: Selection, left: Counter[str]) -> set[int]:
    """Ids of replies to imitate: good, kept or corrections; with `everything` also unjudged replies that are in the
    open version or match a filter."""
    corrected = {row.corrects_id for row in conversation.rows if row.corrects_id is not None}
    open_path = {row.id for row in conversation.path}
    by_filter = bool(wanted.words) or replace(wanted.filter, imported=None) != EVERYTHING
    learned = set()
    for row in conversation.rows:
        if row.role != "assistant" or not conversation.is_chosen(row.id):
            continue
        judgement = conversation.judgement(row.id)
        praised = judgement.rating == ratings.GOOD.number or judgement.decision == "keep" or row.corrects_id is not None
        judged = praised or judgement.rating in _RATED or judgement.decision == "skip" or row.id in corrected
        if not judged and not wanted.everything:
            continue
        reachable = praised or by_filter or row.id in open_path
        if judgement.rating in _RATED and (not praised or judgement.rating == ratings.BAD.number):
            left[_RATED[judgement.rating]] += 1
        elif reason := _why_not(row, judgement, replaced=row.id in corrected and not praised, reachable=reachable):
            left[reason] += 1
        else:
            learned.add(row.id)
    return learned


def _why_not(row: StoredMessage, judgement: Judgement, *, replaced: bool, reachable: bool) -> str:
    """Reason not to learn a reply; empty if it is learned."""
    if judgement.decision == "skip":
        return SKIPPED
    if replaced:
        return CORRECTED
    if not reachable:
        return OTHER_VERSION
    if row.state != "complete":
        return STATES[row.state]
    _, said, closed = reasoning.split(row.content)
    if not closed:
        return UNENDED
    return "" if said.strip() else EMPTY


def _replies(
    conversation: Stored, path: Sequence[StoredMessage], learned: set[int], left: Counter[str]
) -> Iterator[Candidate]:
    """Replies of one path as a candidate. Counts those that can't be learned in `left`."""
    told = turns_with_rows(path)
    messages, said = _asked(conversation, path, path)
    places = set()
    for place, (_, rows) in enumerate(told, len(messages) - len(told)):
        wanted = sum(row.id in learned for row in rows)
        if wanted and len(rows) > 1:
            left[JOINED] += wanted
        elif wanted and not _asked_before(messages, place):
            left[NO_QUESTION] += 1
        elif wanted:
            places.add(place)
            messages[place] = Message("assistant", rows[0].content)  # with its reasoning, which later replies don't see
    if places:
        yield Candidate(Example(tuple(messages), frozenset(places)), _key(conversation), path[-1].id, said=said)


def _reply(conversation: Stored, row: StoredMessage) -> Candidate:
    """One reply with the conversation before it."""
    path = conversation.path_to(row.id)
    prompt, said = _asked(conversation, path[:-1], path)
    messages = (*prompt, Message("assistant", row.content))
    said = f"{said}\n\n{row.content}" if said else ""
    return Candidate(Example(messages, frozenset({len(prompt)})), _key(conversation), row.id, said=said)


def _asked(
    conversation: Stored, path: Sequence[StoredMessage], made: Sequence[StoredMessage]
) -> tuple[list[Message], str]:
    """(messages, text): a path as the engine rendered it, with the template of the last reply of `made`; the text
    without the template, empty if the template adds only a system message."""
    said = turns(path)
    text = next(filter(None, map(conversation.template_of, reversed(made))), "")
    template = None if conversation.fields["system"] or not text else _template(text)
    if template is not None:
        inputs = json.loads(conversation.fields["inputs"])
        known = {one.name for one in template.inputs}
        try:
            messages = render(template, said, {name: value for name, value in inputs.items() if name in known})
        except PromptError:  # a required input was removed: fall back to the stored messages
            pass
        else:
            bare = messages[-len(said) :] == said and len(messages) <= len(said) + 1
            return messages, "" if bare else "\n\n".join(one.content for one in said)
    system = conversation.system
    return ([Message("system", system)] if system else []) + said, ""


@lru_cache(maxsize=256)
def _template(text: str) -> Template | None:
    try:
        return templates.parse(text, name="stored")
    except PromptError:
        return None


# -- other kinds --------------------------------------------------------------------------------------------------


def _preference(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:  # noqa: ARG001
    for pair in preference.pairs(conversation):
        one = _reply(conversation, conversation.by_id[pair.chosen_id])
        yield replace(one, example=replace(one.example, rejected=pair.rejected), rejected_id=pair.rejected_id)


def _kto(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:  # noqa: ARG001
    for row, good in kto.labelled(conversation):
        one = _reply(conversation, row)
        yield replace(one, example=replace(one.example, good=good))


def _label(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:
    """User messages with the class that they or their replies are tagged with."""
    assert wanted.template is not None
    for row in conversation.rows:
        if row.role != "assistant" or row.parent_id is None or not conversation.is_chosen(row.id):
            continue
        asked = conversation.by_id[row.parent_id]
        tags = {*conversation.judgement(row.id).tags, *conversation.judgement(asked.id).tags}
        classes = [name for name in wanted.template.labels if name in tags]
        if len(classes) > 1 and not wanted.template.several:
            left[SEVERAL_CLASSES] += 1
        elif classes and asked.content.strip():
            for example in labelled(wanted.template, asked.content, classes, wanted.values):
                yield Candidate(example, _key(conversation), row.id, said=asked.content)


def _key(conversation: Stored) -> str:
    return f"log:{conversation.fields['id']}"


def _none(conversation: Stored, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:  # noqa: ARG001
    """Nothing: entities come from files only."""
    return iter(())


_OF_KIND = {"supervised": _supervised, "preference": _preference, "kto": _kto, "label": _label, "entities": _none}
