"""Split candidates into train, validation and test: by conversation, with near-duplicates in the same part."""

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
"""Words above which an exchange alone can mark two conversations as near-duplicates: greetings are shorter."""
WHOLE = -1


@dataclass(frozen=True, slots=True)
class Shares:
    """Percentages of the examples, 100 together."""

    train: int = 80
    validation: int = 10
    test: int = 10

    def __post_init__(self) -> None:
        if sum(self.parts) != 100 or min(self.parts) < 0 or not self.train:
            given = "/".join(map(str, self.parts))
            raise TrainingRefused(f"The parts {given} must add up to 100 with some for training, such as 80/10/10.")

    @property
    def parts(self) -> tuple[int, int, int]:
        """The shares in the order of `SPLITS`."""
        return self.train, self.validation, self.test


SMALL = 30
"""Number of groups of which a third goes into the test; of ten times as many a tenth does."""
FEWEST_TO_TEST = 5
"""Test groups below which `finetune.prove.paired` gives no verdict."""


def size_of_test(groups: int) -> int:
    """Number of groups in the test part by default: a third of 30, a tenth of 333 or more, in between proportional to
    the square root, as the width of an interval. At least `FEWEST_TO_TEST` of 10 groups or more.
    """
    wanted = round(min(groups / 3, max(groups / 10, math.sqrt(SMALL * groups) / 3)))
    return max(FEWEST_TO_TEST if groups >= 2 * FEWEST_TO_TEST else 1, wanted)


@dataclass(frozen=True, slots=True)
class Room:
    """Free space of a part: numbers of examples and of groups."""

    examples: float
    groups: float = math.inf

    def fits(self, group: Sequence[int]) -> bool:
        """Whether a group fits, exceeding the space by at most half an example."""
        return len(group) <= self.examples + 0.5 and self.groups >= 1

    def less(self, group: Sequence[int]) -> "Room":
        """The space left after adding a group."""
        return Room(self.examples - len(group), self.groups - 1)


def rooms(shares: Shares | None, examples: int, groups: int) -> dict[Split, Room]:
    """Space in the test and the validation part. Without shares it follows from the number of groups, see
    `size_of_test`.
    """
    if shares is not None:
        parts: list[tuple[Split, int]] = [("test", shares.test), ("validation", shares.validation)]
        return {part: Room(examples * share / 100) for part, share in parts if share}
    wanted: dict[Split, int] = {"test": size_of_test(groups), "validation": max(1, round(groups / 10))}
    return {part: Room(count * examples / max(1, groups), count) for part, count in wanted.items()}


@dataclass(frozen=True, slots=True)
class Seen:
    """Conversation keys and texts of earlier datasets, whose near-duplicates are recognised by the texts."""

    conversations: frozenset[str] = frozenset()
    texts: Sequence[str] = ()


Placed = tuple[Candidate, Split, int]
"""(candidate, part, number of its group)."""


@dataclass(slots=True)
class Parts:
    """A split. `placed`: in the order of the candidates."""

    placed: list[Placed] = field(default_factory=list)
    doubles: int = 0
    """Exact duplicates that were left out."""
    groups: int = 0
    kept_for_test: int = 0
    """Examples in the test part because they were tested before."""


def split(
    candidates: Sequence[Candidate], shares: Shares | None, seed: int, tested: Seen = Seen(), did: Did = ignore
) -> Parts:
    """Split candidates; deterministic for the same candidates and seed. Without `shares` the sizes follow from the
    number of groups. `tested`: may go into the test part only. `did` as for `grouped`. Raises `TrainingRefused` if a
    part would be empty.
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
    """Candidate indices by group number."""

    groups: dict[int, list[int]]
    seen: set[int]
    """Numbers of groups that contain something seen before."""


def grouped(candidates: Sequence[Candidate], seen: Seen, did: Did = ignore) -> Grouped:
    """Group conversations with their near-duplicates. Texts of `seen` count as candidates that are in no result.

    `did` is called with the characters of each compared text.
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
    """Groups of texts: the groups of the candidates that own them."""

    def __init__(self, groups: Groups, owners: Sequence[int]) -> None:
        self._groups, self._owners = groups, owners

    def of(self, one: int) -> int:
        return self._groups.of(self._owners[one])


def words_of(example: Example) -> str:
    """Text of an example, without its system message."""
    return "\n".join(one.content for one in example.messages if one.role != "system")


class _Texts(Sequence[str]):
    """Texts to compare, made on access: each candidate as a whole, each long exchange of longer conversations, then
    the texts seen before.
    """

    def __init__(self, candidates: Sequence[Candidate], seen: Sequence[str], did: Did) -> None:
        self._candidates, self._seen, self._did = candidates, seen, did
        self._replies: list[int] = []
        """For each text the index of the reply that ends its exchange, or `WHOLE`."""
        self.owners: list[int] = []
        """For each text its candidate's index; seen texts are numbered after the candidates."""
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
    """`WHOLE`, and indices of the replies whose exchanges are compared."""
    if one.said or len(one.example.trained) < 2:
        return [WHOLE]
    return [WHOLE, *(place for place in sorted(one.example.trained) if _is_long(exchange(one.example, place)))]


def exchange(example: Example, place: int) -> str:
    """A reply and the message before it."""
    return f"{example.messages[place - 1].content}\n{example.messages[place].content}"


def _is_long(text: str) -> bool:
    return len(text) > 6 * LONG_WORDS or len(text.split()) > LONG_WORDS


def _parts(
    groups: list[list[int]], room: dict[Split, Room], seed: int, frozen: list[list[int]]
) -> dict[Split, list[list[int]]]:
    """Assign groups in an order given by the seed: to test and validation as far as they fit, the rest to training.

    A part with a share gets at least one group, the smallest if none fits.
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
    """Groups that fit into the space, tried in order."""
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
            "All of these examples were in the test part of an earlier dataset: training on them would spoil that "
            "test. Select other conversations, or delete that dataset."
        )
    what = "It is one conversation" if groups == 1 else f"There are {groups} conversations"
    raise TrainingRefused(
        f"{what}, near-duplicates counted once: nothing is left for {' and '.join(empty)}. "
        f"Select at least {len(wanted) + bool(frozen)} that differ; a reliable result needs ten times as many."
    )
