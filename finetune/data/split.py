"""Candidates -> train, validation and test: by conversation, near-duplicates together, what was tested tested again."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import overload

from assistant.errors import TrainingRefused
from assistant.store.training.datasets import SPLITS
from finetune.data.example import Example, Split
from finetune.data.near import Groups, near
from finetune.data.select import Candidate
from finetune.progress import Did, ignore

LONG_WORDS = 20
"""Pairs of words from which an exchange alone tells that two conversations are nearly the same: greetings don't."""
WHOLE = -1


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the examples, in percent, 100 together."""

    train: int = 80
    validation: int = 10
    test: int = 10

    def __post_init__(self) -> None:
        if sum(self.parts) != 100 or min(self.parts) < 0 or not self.train:
            given = "/".join(map(str, self.parts))
            raise TrainingRefused(f"The parts {given} are not 100 percent with some for training, such as 80/10/10.")

    @property
    def parts(self) -> tuple[int, int, int]:
        """As `SPLITS` has them."""
        return self.train, self.validation, self.test


SMALL = 30
"""Groups of which a third is for the test; of ten times as many a tenth is."""
FEWEST_TO_TEST = 5
"""Test groups below which `finetune.prove.measure` gives no verdict."""


def size_of_test(groups: int) -> int:
    """How many of so many groups the test part gets where nobody sets the shares: a third of 30, a tenth of 333 or
    more, and in between in proportion to the square root, as an interval narrows. From 10 on at least
    `FEWEST_TO_TEST`.
    """
    wanted = round(min(groups / 3, max(groups / 10, math.sqrt(SMALL * groups) / 3)))
    return max(FEWEST_TO_TEST if groups >= 2 * FEWEST_TO_TEST else 1, wanted)


@dataclass(frozen=True, slots=True)
class Room:
    """How much a part takes: at most so many examples, in at most so many groups."""

    examples: float
    groups: float = math.inf

    def fits(self, group: Sequence[int]) -> bool:
        """Whether a group still goes in; half an example too many does."""
        return len(group) <= self.examples + 0.5 and self.groups >= 1

    def less(self, group: Sequence[int]) -> "Room":
        """What is left once a group is in."""
        return Room(self.examples - len(group), self.groups - 1)


def rooms(shares: Shares | None, examples: int, groups: int) -> dict[Split, Room]:
    """The room of the test and the validation part, where they are to have any. Without shares it follows from the
    number of groups, see `size_of_test`.
    """
    if shares is not None:
        parts: list[tuple[Split, int]] = [("test", shares.test), ("validation", shares.validation)]
        return {part: Room(examples * share / 100) for part, share in parts if share}
    wanted: dict[Split, int] = {"test": size_of_test(groups), "validation": max(1, round(groups / 10))}
    return {part: Room(count * examples / max(1, groups), count) for part, count in wanted.items()}


@dataclass(frozen=True, slots=True)
class Seen:
    """What earlier datasets hold: conversations, and texts, so that what is near to one of these is known again."""

    conversations: frozenset[str] = frozenset()
    texts: Sequence[str] = ()


Placed = tuple[Candidate, Split, int]
"""A candidate with its part and the number of its group."""


@dataclass(slots=True)
class Parts:
    """`placed`: in the order they came in."""

    placed: list[Placed] = field(default_factory=list)
    doubles: int = 0
    """Candidates word for word like an earlier one, left out."""
    groups: int = 0
    kept_for_test: int = 0
    """Examples that are in the test because they were tested before."""


def split(
    candidates: Sequence[Candidate], shares: Shares | None, seed: int, tested: Seen = Seen(), did: Did = ignore
) -> Parts:
    """The same for the same candidates and seed. Without `shares` the parts suit the number of groups. `tested`: what
    may only be tested again. `did` as for `grouped`. Raises `TrainingRefused` where there is too little to split.
    """
    first: dict[Example, Candidate] = {}
    for one in candidates:
        first.setdefault(one.example, one)
    unique = list(first.values())
    found = grouped(unique, tested, did)
    groups = list(found.groups.values())
    frozen = [group for number, group in found.groups.items() if number in found.seen]
    free = [group for number, group in found.groups.items() if number not in found.seen]
    room = rooms(shares, len(unique), len(groups))
    parts = _parts(free, room, seed, frozen)
    parts["test"] += frozen
    _refuse_empty(parts, ["train", *room], len(groups), len(frozen))
    part_of = {place: part for part, some in parts.items() for group in some for place in group}
    number_of = {place: number for number, group in enumerate(groups) for place in group}
    return Parts(
        [(one, part_of[place], number_of[place]) for place, one in enumerate(unique)],
        len(candidates) - len(unique),
        len(groups),
        sum(map(len, frozen)),
    )


@dataclass(frozen=True, slots=True)
class Grouped:
    """Places of candidates by the number of their group."""

    groups: dict[int, list[int]]
    seen: set[int]
    """The groups that hold something which was seen before."""


def grouped(candidates: Sequence[Candidate], seen: Seen, did: Did = ignore) -> Grouped:
    """Conversations and near-duplicates together. What was seen takes part as candidates that are in no list.

    `did` is called with the characters of each text that was compared.
    """
    groups = Groups(len(candidates) + len(seen.texts))
    first: dict[str, int] = {}
    for place, one in enumerate(candidates):
        groups.join(first.setdefault(one.conversation, place), place)
    texts = _Texts(candidates, seen.texts, did)
    owned = _Owned(groups, texts.owners)
    for one_text, other_text in near(texts, owned):
        groups.join(texts.owners[one_text], texts.owners[other_text])
    found: dict[int, list[int]] = {}
    for place in range(len(candidates)):
        found.setdefault(groups.of(place), []).append(place)
    was_seen = {groups.of(len(candidates) + place) for place in range(len(seen.texts))}
    was_seen |= {groups.of(place) for name, place in first.items() if name in seen.conversations}
    return Grouped(found, was_seen)


class _Owned(Groups):
    """The groups of texts: those of the candidates that they are of."""

    def __init__(self, groups: Groups, owners: Sequence[int]) -> None:
        self._groups, self._owners = groups, owners

    def of(self, one: int) -> int:
        return self._groups.of(self._owners[one])


def words_of(example: Example) -> str:
    """What an example says, without its system message."""
    return "\n".join(one.content for one in example.messages if one.role != "system")


class _Texts(Sequence[str]):
    """What is compared, made when it is read: of each candidate the whole, and of a longer conversation each exchange
    that says something of its own; then what was seen.
    """

    def __init__(self, candidates: Sequence[Candidate], seen: Sequence[str], did: Did) -> None:
        self._candidates, self._seen, self._did = candidates, seen, did
        self._replies: list[int] = []
        """Of each text the place of the reply whose exchange it is, or `WHOLE`."""
        self.owners: list[int] = []
        """Of each text its candidate; what was seen counts on behind the candidates."""
        for place, one in enumerate(candidates):
            replies = _own_exchanges(one)
            self._replies += replies
            self.owners += [place] * len(replies)
        self.owners += range(len(candidates), len(candidates) + len(seen))

    def __len__(self) -> int:
        return len(self.owners)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if place >= len(self._replies):
            return self._seen[place - len(self._replies)]
        one, reply = self._candidates[self.owners[place]], self._replies[place]
        return (one.said or words_of(one.example)) if reply == WHOLE else exchange(one.example, reply)

    def __iter__(self) -> Iterator[str]:
        for place in range(len(self)):
            text = self[place]
            self._did(len(text))
            yield text


def _own_exchanges(one: Candidate) -> list[int]:
    """`WHOLE` and the places of the replies whose exchanges are compared."""
    if one.said or len(one.example.trained) < 2:
        return [WHOLE]
    return [WHOLE, *(place for place in sorted(one.example.trained) if _is_long(exchange(one.example, place)))]


def exchange(example: Example, place: int) -> str:
    """A reply after what it answers."""
    return f"{example.messages[place - 1].content}\n{example.messages[place].content}"


def _is_long(text: str) -> bool:
    return len(text) > 6 * LONG_WORDS or len(text.split()) > LONG_WORDS


def _parts(
    groups: list[list[int]], room: dict[Split, Room], seed: int, frozen: list[list[int]]
) -> dict[Split, list[list[int]]]:
    """Groups dealt out in an order that the seed decides: those for the test and validation first, as far as they fit.

    Each part that is to have some gets a group, the smallest where none fits.
    """
    rest = list(groups)
    random.Random(seed).shuffle(rest)
    parts: dict[Split, list[list[int]]] = {"train": [], "validation": [], "test": []}
    for part, left in room.items():
        have = frozen if part == "test" else []
        chosen = _fitting(rest, reduce(Room.less, have, left))
        if not have and not chosen and len(rest) > 1:
            chosen = [min(rest, key=len)]
        parts[part] = chosen
        gone = set(map(id, chosen))
        rest = [group for group in rest if id(group) not in gone]
    parts["train"] = rest
    return parts


def _fitting(groups: list[list[int]], room: Room) -> list[list[int]]:
    """The first groups that fit, in order; smaller ones after those that don't."""
    chosen: list[list[int]] = []
    for group in groups:
        if room.fits(group):
            chosen.append(group)
            room = room.less(group)
    return chosen


def _refuse_empty(parts: dict[Split, list[list[int]]], wanted: Sequence[Split], groups: int, frozen: int) -> None:
    empty = [part for part in SPLITS if part in wanted and not parts[part]]  # type: ignore[index]
    if not empty:
        return
    if frozen and frozen == groups:
        raise TrainingRefused(
            "All of this was in the test part of an earlier dataset: training on it would spoil that test. "
            "Select other conversations, or delete that dataset."
        )
    what = "It is one conversation" if groups == 1 else f"There are {groups} conversations"
    raise TrainingRefused(
        f"{what}, near-duplicates counted once: nothing is left for {' and '.join(empty)}. "
        f"Select at least {len(wanted) + bool(frozen)} that differ, ten times as many for a figure that says something."
    )
