"""Exchanges that are there twice, word for word or nearly, gathered in groups of which one is worth keeping.

Compared is what was asked together with the reply, as "Yes." to two questions is no double. Nearly: of the pairs of
neighbouring words, of characters in Chinese, at least `NEAR` are in both. Each of a group is that near to its oldest,
so that a group doesn't drift. Candidates come from MinHash signatures (rensa), which miss one in 500 pairs that are
just near enough and are never believed: every candidate is compared in full.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store.database import execute, execute_many, select, transaction
from assistant.store.judgements import curation
from assistant.store.search import exchanges
from assistant.store.search.filter import EVERYTHING, Filter
from assistant.store.search.query import index_words

NEAR = 0.8
"""Pairs of words in both texts over those in either (Jaccard)."""

PERMUTATIONS, BANDS = 120, 20
"""Six values in each band: of texts that share 0.8 of their pairs 998 in 1,000 meet in one, at 0.5 a quarter."""

READ_AT_ONCE = 2_000

MOST_COMPARED = 16
"""So many candidates at most are compared in full with a text."""

Text = tuple[int, str, str]
"""A reply's id, what it answers, and what it says."""


@dataclass(frozen=True, slots=True)
class Group:
    """Replies that are doubles of each other, the oldest first. `exact`: they all are word for word the same."""

    message_ids: tuple[int, ...]
    exact: bool


def find(
    db: Database, filter_: Filter = EVERYTHING, *, near: bool = False, told: Callable[[int], None] = lambda _: None
) -> int:
    """Look for doubles among the exchanges that pass, and remember them for `groups`. How many groups there are.

    `told` is called with how many exchanges were read so far. Nothing else is remembered from earlier searches.
    """
    oldest, rows = _Oldest(db) if near else None, list[tuple[int, int, int]]()
    first_of: dict[bytes, int] = {}
    read = 0
    for texts in _texts(db, filter_):
        new: list[Text] = []
        for message_id, prompt, reply in texts:
            first = first_of.setdefault(_digest(prompt, reply), message_id)
            if first == message_id:
                new.append((message_id, prompt, reply))
            else:
                rows.append((message_id, first, 1))
        if oldest is not None:
            rows += [(message_id, first, 0) for message_id, first in oldest.near(new)]
        read += len(texts)
        told(read)
    with transaction(db):
        execute(db, "DELETE FROM doubles")
        execute_many(db, "INSERT INTO doubles (message_id, group_id, exact) VALUES (?, ?, ?)", _whole(rows))
    return len(groups(db))


def _whole(rows: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """(reply, its group, exact), the oldest of each group too; a copy of one that is near belongs to its group."""
    near_to = {message_id: first for message_id, first, exact in rows if not exact}
    whole = [(message_id, near_to.get(first, first), exact) for message_id, first, exact in rows]
    return whole + [(group, group, 1) for group in {row[1] for row in whole}]


def groups(db: Database) -> list[Group]:
    """The groups that were found last, that of the oldest reply first; what was deleted since is left out."""
    rows = select(
        db,
        "SELECT group_concat(d.message_id), min(d.exact) FROM (SELECT * FROM doubles ORDER BY message_id) d "
        "JOIN exchanges e ON e.message_id = d.message_id WHERE e.hidden = 0 "
        "GROUP BY d.group_id HAVING count(*) > 1 ORDER BY d.group_id",
    )
    return [Group(tuple(sorted(map(int, row[0].split(",")))), bool(row[1])) for row in rows]


def group_of(db: Database, message_id: int) -> Group:
    """The group that a reply is in. Raises `StoreError` where it is in none."""
    for group in groups(db):
        if message_id in group.message_ids:
            return group
    raise StoreError(
        f"Message {message_id} is no double of another, as far as is known. Look again: assistant log doubles --near"
    )


def choose(db: Database, group: Group, message_id: int) -> int:
    """Keep one of a group and skip the others, each an act that can be undone. How many decisions have changed."""
    if message_id not in group.message_ids:
        raise StoreError(f"Message {message_id} is none of {', '.join(map(str, group.message_ids))}.")
    changed = 0
    with transaction(db):
        for one in group.message_ids:
            decision: curation.Decision = "keep" if one == message_id else "skip"
            if curation.judgement(db, one).decision != decision:
                curation.decide(db, one, decision)
                changed += 1
    return changed


def _texts(db: Database, filter_: Filter) -> Iterator[list[Text]]:
    passes, values = exchanges.joined(exchanges.conditions(filter_))
    last = 0
    while texts := select(
        db,
        "SELECT exchanges.message_id, coalesce(p.content, ''), m.content FROM exchanges NOT INDEXED "
        "JOIN messages m ON m.id = exchanges.message_id LEFT JOIN messages p ON p.id = exchanges.prompt_id "
        f"WHERE exchanges.message_id > ? AND {passes} ORDER BY exchanges.message_id LIMIT ?",
        (last, *values, READ_AT_ONCE),
    ):
        last = texts[-1][0]
        yield [(row[0], row[1], row[2]) for row in texts]


def _digest(prompt: str, reply: str) -> bytes:
    return hashlib.blake2b(f"{prompt}\0{reply}".encode("utf-8", "replace"), digest_size=16).digest()


def pairs(prompt: str, reply: str) -> set[str]:
    """The pairs of neighbouring words of an exchange, or its only word."""
    words = index_words(f"{prompt}\n{reply}".lower())
    return {f"{one} {other}" for one, other in itertools.pairwise(words)} or set(words)


class _Oldest:
    """The texts so far that are near to none before them."""

    def __init__(self, db: Database) -> None:
        from rensa import RMinHashLSH

        self._db = db
        self._index = RMinHashLSH(NEAR, PERMUTATIONS, BANDS)
        self._ids: list[int] = []  # key of the index -> message

    def near(self, texts: list[Text]) -> list[tuple[int, int]]:
        """(reply, the older one it is near to) for those of these, which are newer than all before."""
        from rensa import RMinHash

        shingled = [(message_id, said) for message_id, *text in texts if (said := pairs(*text))]
        if not shingled:
            return []
        begin = len(self._ids)
        self._ids += [message_id for message_id, _ in shingled]
        signatures = RMinHash.digest_matrix_from_token_sets([list(said) for _, said in shingled], PERMUTATIONS, 1)
        flags = self._index.insert_matrix_and_query_duplicate_flags(signatures, begin)
        here = dict(shingled)
        found = []
        for number, (flag, (message_id, said)) in enumerate(zip(flags, shingled, strict=True)):
            if flag:
                (signature,) = RMinHash.from_token_sets([list(said)], PERMUTATIONS, 1)
                older = sorted(key for key in self._index.query(signature) if key < begin + number)
                first = self._first_near(said, [self._ids[key] for key in older[:MOST_COMPARED]], here)
                if first is not None:
                    found.append((message_id, first))
                    self._index.remove(begin + number)
        return found

    def _first_near(self, said: set[str], older: list[int], here: dict[int, set[str]]) -> int | None:
        for one in older:
            other = here.get(one) or self._read(one)
            if len(said & other) >= NEAR * len(said | other):
                return one
        return None

    def _read(self, message_id: int) -> set[str]:
        rows = select(
            self._db,
            "SELECT coalesce(p.content, ''), m.content FROM messages m LEFT JOIN messages p ON p.id = m.parent_id "
            "WHERE m.id = ?",
            (message_id,),
        )
        return pairs(*rows[0]) if rows else set()
