"""The rows that teaching trains on: corrections in many words, those of before, and anchors for everything else.

Measured with the default model on one correction, 16 steps: with means over whole replies of 40 tokens as anchors,
every reply became the correction; with their first 12 tokens, 20 of 24 other replies shared half their words with those
before.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path

from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.store.database import select
from assistant.store.files.exports import stored
from finetune.base import Base
from finetune.data import forgetting
from finetune.data.dataset import BUILTIN
from finetune.data.tokens import Row, Tokenizer
from finetune.teach import frames
from finetune.teach.corrections import Correction, questions_asked_once
from prompts.message import Message

PROMPTS = Path(__file__).with_name("prompts.json")
"""General questions, for a log that has few of its own."""
LONGEST_ROW, LONGEST_TAUGHT, LONGEST_PROMPT = 768, 256, 160
"""Tokens of a row, of a correction, and of the prompt of an anchor."""
PIECE = 96
"""Tokens of an anchor of general text."""
NEW_TOKENS, OLD_TOKENS, HELD_TOKENS, TEXT_TOKENS = 600, 400, 600, 200
"""About how many tokens of each a step has."""
FORMS = 6
"""In how many of its words a new correction is learned in a step."""
ROWS_READ = 400
"""Conversations of the log among which anchors are looked for."""


@dataclass(frozen=True, slots=True)
class Taught:
    """A correction as rows. `always`: as it was asked; `others`: in other words."""

    correction: Correction
    always: Sequence[Row]
    others: Sequence[Row]

    def some(self, count: int, drawn: random.Random) -> list[Row]:
        """As it was asked, and in `count` other forms."""
        return [*self.always, *drawn.sample(self.others, min(count, len(self.others)))]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A row whose targets are the distributions of the model as it was, and what their loss was then, in nats."""

    row: Row
    floor: float


@dataclass(frozen=True, slots=True)
class Step:
    """The rows of one step: of new corrections, of those before, replies and general text that are held."""

    new: list[Row]
    old: list[Row]
    held: list[Anchor]
    text: list[Anchor]


@dataclass(frozen=True)
class Material:
    """All that there is to learn. `held`: replies to other questions; `text`: general text."""

    new: Sequence[Taught]
    old: Sequence[Taught]
    held: Sequence[Anchor]
    text: Sequence[Anchor]
    seed: int = 0

    def step(self, number: int) -> Step:
        """What doesn't fit into a step comes in the next ones."""
        drawn = random.Random(f"{self.seed} {number}")
        return Step(
            _filled(self.new, NEW_TOKENS, FORMS, number, drawn),
            _filled(self.old, OLD_TOKENS, 1, number, drawn),
            _drawn(self.held, HELD_TOKENS, drawn),
            _drawn(self.text, TEXT_TOKENS, drawn),
        )

    @property
    def rounds(self) -> int:
        """Steps until each new correction has come."""
        return max(1, round(sum(_tokens(one, FORMS) for one in self.new) / NEW_TOKENS))


def _tokens(one: Taught, forms: int) -> int:
    rows = [*one.always, *one.others[:forms]]
    return sum(len(row.ids) for row in rows)


def _drawn(some: Sequence[Anchor], tokens: int, drawn: random.Random) -> list[Anchor]:
    """As many by chance as have about so many tokens, at least one."""
    all_ = sum(len(one.row.ids) for one in some)
    return drawn.sample(some, min(len(some), max(1, round(len(some) * tokens / max(1, all_)))))


def _filled(some: Sequence[Taught], tokens: int, forms: int, step: int, drawn: random.Random) -> list[Row]:
    """Rows of as many corrections as have about so many tokens, at least one; the next step goes on after them."""
    if not some:
        return []
    at_once = max(1, min(len(some), round(tokens * len(some) / sum(_tokens(one, forms) for one in some))))
    chosen = islice(cycle(some), step * at_once % len(some), step * at_once % len(some) + at_once)
    return [row for one in chosen for row in one.some(forms, drawn)]


def taught(
    tokenizer: Tokenizer, new: Sequence[Correction], old: Sequence[Correction]
) -> tuple[list[Taught], list[Taught]]:
    """The rows of corrections. Raises `TrainingRefused` for a new one that is too long."""
    once = questions_asked_once(new, old)
    for one in new:
        length = len(tokenizer.format.encode_following(one.text))
        if length > LONGEST_TAUGHT:
            raise TrainingRefused(
                f"The correction {one.id} has {length:,} tokens, and at most {LONGEST_TAUGHT} can be taught at once. "
                "Shorten it, or learn it with `finetune data` and `finetune train`."
            )
    return [_taught(tokenizer, one, once) for one in new], [_taught(tokenizer, one, once) for one in old]


def _taught(tokenizer: Tokenizer, one: Correction, asked_once: set[str]) -> Taught:
    def row(before: Sequence[Message], question: str) -> list[Row]:
        return tokenizer.alternatives([*before, Message("user", question)], [one.text])

    before = one.prompt[:-1]
    always = row(before, one.question)
    if not one.is_first and one.question.strip() in asked_once:
        always += row(one.alone, one.question)
    if not always:
        raise TrainingRefused(f"The correction {one.id} doesn't fit the model's context. Shorten it.")
    return Taught(one, always, [made for form in frames.learned(one.question) for made in row(before, form)])


# -- everything else ----------------------------------------------------------------------------------------------


def other_prompts(db: Database, some: Sequence[Correction], count: int, seed: int) -> list[list[Message]]:
    """Other questions, in an order by chance: first those of the log, then general ones, which are put with the system
    message of the corrections. None is asked in `some`."""
    avoided = {one.question.strip() for one in some}
    found: dict[str, list[Message]] = {}
    for prompt in [*_of_log(db, count, seed), *_general(some[0].alone, seed)]:
        question = prompt[-1].content.strip()
        if question not in avoided:
            found.setdefault(question, prompt)
    return list(found.values())[:count]


def _of_log(db: Database, count: int, seed: int) -> Iterator[list[Message]]:
    rows = select(db, "SELECT DISTINCT conversation_id FROM exchanges WHERE hidden = 0 ORDER BY conversation_id")
    ids = [row[0] for row in rows]
    random.Random(seed).shuffle(ids)
    for conversation in islice(stored.read(db, ids[:ROWS_READ]), count):
        first = next((row for row in conversation.path if row.role == "user" and row.content.strip()), None)
        if first is not None:
            system = [Message("system", conversation.system)] if conversation.system else []
            yield [*system, Message("user", first.content)]


def _general(system: Sequence[Message], seed: int) -> Iterator[list[Message]]:
    some = list(_shipped())
    random.Random(seed).shuffle(some)
    for number, question in enumerate(some):
        forms = frames.learned(question)
        framed = forms[number % len(forms)] if number % 2 else question
        yield [*system, Message("user", framed)]


@cache
def _shipped() -> tuple[str, ...]:
    return tuple(json.loads(PROMPTS.read_text(encoding="utf-8")))


def general_text(base: Base, count: int, seed: int) -> list[Row]:
    """Pieces of general text."""
    rows = forgetting.rows(base.chat_format, base.context_tokens, BUILTIN)
    pieces = [row.ids[at : at + PIECE] for (row,) in rows for at in range(0, len(row.ids) - PIECE, PIECE)]
    random.Random(seed).shuffle(pieces)
    return [Row.of(piece.tolist(), [(1, len(piece))]) for piece in pieces[:count]]
