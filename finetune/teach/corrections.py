"""The corrections that are to be taught, and those that an adapter was taught before, as the log has them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from assistant.errors import StoreError, TrainingRefused
from assistant.store import messages
from assistant.store.database import select
from assistant.store.training import datasets
from assistant.store.training.datasets import Dataset, StoredExample
from assistant.store.training.runs import Run
from finetune.data.example import Example
from finetune.data.select import reply
from finetune.lineage.lineage import Start
from finetune.teach.words import short
from prompts.message import Message

NAME = "taught"
"""Of the datasets that hold what was taught, and so of its runs and adapters."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person wrote in place of a reply. `id`: its message; `example`: with the conversation before it."""

    id: int
    example: Example
    conversation: str = ""
    """How datasets identify the conversation."""
    replied: str = ""
    """The reply that was corrected."""
    model: str = ""
    """The model that made that reply."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        return self.example.messages[:-1]

    @property
    def question(self) -> str:
        return self.example.messages[-2].content

    @property
    def text(self) -> str:
        return self.example.messages[-1].content

    @property
    def alone(self) -> tuple[Message, ...]:
        """The system message alone: what stands before the question where nothing was said before it."""
        return tuple(one for one in self.prompt if one.role == "system")

    @property
    def is_first(self) -> bool:
        """Whether nothing was said before the question."""
        return len(self.prompt) == len(self.alone) + 1


def find(db: Database, ids: Iterable[int]) -> list[Correction]:
    """The corrections of these messages: each the corrected reply or the correction itself.

    Raises `TrainingRefused` for a message without a correction, one that corrects nothing, and two that contradict.
    """
    found = list({one.id: one for one in (_correction(db, message_id) for message_id in ids)}.values())
    if not found:
        raise TrainingRefused(
            "Nothing to teach: give the ids of corrected replies, as `assistant log list` shows them."
        )
    _refuse_contradictions(found)
    return found


def _correction(db: Database, message_id: int) -> Correction:
    try:
        row = messages.get(db, message_id)
    except StoreError as error:
        raise TrainingRefused(f"{error} Nothing was taught.") from error
    if row.corrects_id is None:
        of_it = select(db, "SELECT id FROM messages WHERE corrects_id = ? ORDER BY id DESC LIMIT 1", (row.id,))
        if not of_it:
            what = "reply" if row.role == "assistant" else "message"
            raise TrainingRefused(f"The {what} {row.id} has no correction. Correct it first (e in Chat and Log).")
        row = messages.get(db, of_it[0][0])
    assert row.corrects_id is not None
    corrected, candidate = messages.get(db, row.corrects_id), reply(db, row.id)
    if _same(corrected.content, row.content):
        raise TrainingRefused(
            f"The correction {row.id} says the same as the reply {corrected.id}: there is nothing to learn. Change it "
            "(e), or leave it out."
        )
    if len(candidate.example.messages) < 2 or candidate.example.messages[-2].role != "user":
        raise TrainingRefused(f"The reply {corrected.id} answers no question, so that it can't be taught.")
    made = select(db, "SELECT model FROM replies WHERE message_id = ?", (corrected.id,))
    model = made[0][0] if made else ""
    return Correction(row.id, candidate.example, candidate.conversation, corrected.content, model)


def _refuse_contradictions(found: Sequence[Correction]) -> None:
    by_prompt: dict[tuple[Message, ...], Correction] = {}
    for one in found:
        other = by_prompt.setdefault(one.prompt, one)
        if not _same(other.text, one.text):
            raise TrainingRefused(
                f"The corrections {other.id} and {one.id} answer the same question {short(one.question)!r} in two "
                f"ways: {short(other.text)!r} and {short(one.text)!r}. Teach one of them."
            )


def freeze(db: Database, found: Sequence[Correction]) -> Dataset:
    """Keep the corrections as a dataset: `taught`, `taught-2` and so on."""
    names = {one.name for one in datasets.every(db)}
    free = next(one for one in (NAME, *(f"{NAME}-{number}" for number in range(2, len(names) + 3))) if one not in names)
    rows = [
        StoredExample("train", place, one.id, one.example.hash, one.example.as_json(), conversation=one.conversation)
        for place, one in enumerate(found)
    ]
    digest = hashlib.sha256("\n".join(["supervised", *(f"train {one.hash}" for one in rows)]).encode()).hexdigest()
    counted = {"examples": {"train": len(rows), "validation": 0, "test": 0}, "conversations": len(rows)}
    return datasets.add(db, free, "supervised", digest, {"taught": [one.id for one in found]}, counted, rows)


def taught_before(db: Database, start: Start | None) -> list[Correction]:
    """What an adapter and those it goes on from were taught, the newest first, each question once.

    What was deleted from the log since isn't among it.
    """
    found: dict[tuple[Message, ...], Correction] = {}
    for dataset in start.behind(db)[0] if start else []:
        for one in datasets.examples(db, dataset.id) if NAME in dataset.source else ():
            example = Example.from_json(one.body)
            found.setdefault(example.messages[:-1], Correction(one.message_id or 0, example, one.conversation))
    return list(found.values())


def only_taught(db: Database, start: Start | None) -> bool:
    """Whether an adapter learned nothing but taught corrections, from the base on; the base alone did."""
    if start is None:
        return True
    found, gone = start.behind(db)
    return not gone and all(NAME in one.source for one in found)


def is_taught(run: Run) -> bool:
    """Whether a run taught corrections."""
    return NAME in run.config


def questions_asked_once(*some: Sequence[Correction]) -> set[str]:
    """The questions that one correction alone answers: they can be asked without what was said before them."""
    counted = Counter(one.question.strip() for part in some for one in part)
    return {question for question, count in counted.items() if count == 1}


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()
