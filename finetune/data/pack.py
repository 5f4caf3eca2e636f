"""Pack rows into blocks of about one size, in which rows share common prefixes and don't attend to one another.

A block is a forest of tokens: each attends to its ancestors, which are the earlier tokens of its row. Rows with a
common prefix (a system message, the two replies of a preference, the windows of replies with reasoning) share its
tokens: they are computed once and their gradients add up, so that loss and gradients equal those of separate rows. The
tokens that a row adds are contiguous and form a segment.

Packing handles a few hundred items at a time, so its memory doesn't grow with the dataset.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from finetune.data.tokens import Row, SoftTargets

ROUND_TO = 64
"""Batches are padded to a multiple of this, in tokens."""
AMONG = 256
"""Items that are sorted by length at a time."""
OPEN = 8
"""Open blocks that an item may be put in."""
ALIKE = 0.5
"""Share of the shorter of two neighbouring rows that must be a common prefix, to pack both together."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens begin..end of a block, each following the one before it; the first follows the end of `before`."""

    begin: int
    end: int
    before: tuple[Range, ...]
    """Ranges of earlier tokens that all tokens of the segment attend to, in order."""


@dataclass(slots=True)
class _Node:
    """A node of the prefix tree. `children`: by their first token."""

    begin: int
    ids: np.ndarray
    children: "dict[int, _Node]" = field(default_factory=dict)


Teacher = Literal["", "start", "base"]
"""Model whose distributions are the targets: as the training begins (`start`), or the base. Empty: the targets are the
tokens themselves."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Items to be mixed with others, and their share of the tokens."""

    items: range
    share: float
    teacher: Teacher = ""


@dataclass(slots=True)
class Block:
    """T tokens of one or more rows, and S predictions: the token at `sources[k]` predicts `targets[k]`, weighted by
    `weights[k]`, for row `owners[k]` of the block.
    """

    tokens: int = 0
    supervised: int = 0
    segments: list[Segment] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)
    """(item, row number within the item) of each row; items are indices of `pack`'s argument."""
    _ids: list[np.ndarray] = field(default_factory=list)
    _positions: list[np.ndarray] = field(default_factory=list)
    _sources: list[np.ndarray] = field(default_factory=list)
    _targets: list[np.ndarray] = field(default_factory=list)
    _weights: list[np.ndarray] = field(default_factory=list)
    _owners: list[np.ndarray] = field(default_factory=list)
    _roots: dict[int, _Node] = field(default_factory=dict)

    @property
    def ids(self) -> np.ndarray:
        """(T,) int32."""
        return _joined(self._ids)

    @property
    def positions(self) -> np.ndarray:
        """(T,) int32: the position of each token in its row."""
        return _joined(self._positions)

    @property
    def sources(self) -> np.ndarray:
        """(S,) int32."""
        return _joined(self._sources)

    @property
    def targets(self) -> np.ndarray:
        """(S, K) int32."""
        return widened(self._targets, np.int32)

    @property
    def weights(self) -> np.ndarray:
        """(S, K) float32."""
        return widened(self._weights, np.float32)

    @property
    def owners(self) -> np.ndarray:
        """(S,) int32."""
        return _joined(self._owners)

    @property
    def items(self) -> list[int]:
        """Indices of the items whose rows the block contains."""
        return list(dict.fromkeys(item for item, _ in self.rows))

    def new_tokens(self, rows: Sequence[Row]) -> int:
        """Tokens that adding the rows would take at most: prefixes common to these rows alone are counted each time."""
        return sum(len(row.ids) - self._walk(row.ids)[0] for row in rows)

    def add(self, item: int, number: int, row: Row) -> None:
        """Add a row."""
        shared, before, node, inside = self._walk(row.ids)
        own = (self.tokens, self.tokens + len(row.ids) - shared)
        if own[1] > own[0]:
            self._grow(node, inside, _Node(own[0], row.ids[shared:]))
            self.segments.append(Segment(*own, before))
            self._ids.append(row.ids[shared:])
            self._positions.append(np.arange(shared, len(row.ids), dtype=np.int32))
            self.tokens = own[1]
        places = np.concatenate([np.arange(*part, dtype=np.int32) for part in (*before, own)])
        learned = np.flatnonzero(row.learned)
        if row.tags is None:
            learned = learned[learned > 0]
        self._sources.append(places[learned if row.tags is not None else learned - 1])
        soft = row.soft or SoftTargets(
            (row.ids if row.tags is None else row.tags)[learned, None], np.ones((len(learned), 1), np.float32)
        )
        self._targets.append(soft.ids)
        self._weights.append(soft.weights)
        self._owners.append(np.full(len(learned), len(self.rows), np.int32))
        self.supervised += len(learned)
        self.rows.append((item, number))

    def halves(self, items: Sequence[Sequence[Row]]) -> "list[Block]":
        """The rows in two blocks; the block itself if all rows are of one item."""
        own = self.items
        if len(own) < 2:
            return [self]
        some = set(own[: len(own) // 2])
        halves = [Block(), Block()]
        for item, number in self.rows:
            halves[item not in some].add(item, number, items[item][number])
        return halves

    def _walk(self, ids: np.ndarray) -> tuple[int, tuple[Range, ...], _Node | None, int]:
        """(tokens of the row that the block has already, their ranges, the node where they end, offset in it)."""
        at, before, node, inside = 0, list[Range](), None, 0
        children = self._roots
        while at < len(ids) and (child := children.get(int(ids[at]))) is not None:
            length = min(len(child.ids), len(ids) - at)
            differs = np.flatnonzero(child.ids[:length] != ids[at : at + length])
            inside = int(differs[0]) if len(differs) else length
            begin = child.begin
            if before and before[-1][1] == begin:
                begin = before.pop()[0]
            before.append((begin, child.begin + inside))
            node, at = child, at + inside
            if inside < len(child.ids):
                break
            children = child.children
        return at, tuple(before), node, inside

    def _grow(self, node: _Node | None, inside: int, new: _Node) -> None:
        """Add `new` after the first `inside` tokens of `node`."""
        if node is None:
            self._roots[int(new.ids[0])] = new
            return
        if inside < len(node.ids):
            rest = _Node(node.begin + inside, node.ids[inside:], node.children)
            node.ids, node.children = node.ids[:inside], {int(rest.ids[0]): rest}
        node.children[int(new.ids[0])] = new


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.int32)


def widened(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    """Stack arrays (n, K) of different K, padded with zeros on the right."""
    width = max((part.shape[1] for part in parts), default=1)
    made = np.zeros((sum(map(len, parts)), width), kind)
    at = 0
    for part in parts:
        made[at : at + len(part), : part.shape[1]] = part
        at += len(part)
    return made


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows of one item that are packed into the same block; `first`: number of the first of them."""

    item: int
    first: int
    rows: Sequence[Row]

    @property
    def tokens(self) -> int:
        """Tokens of the rows, shared prefixes counted for each row."""
        return sum(len(row.ids) for row in self.rows)


def units(item: int, rows: Sequence[Row], *, together: bool) -> Iterator[Unit]:
    """Split an item's rows into units: all rows (`together`), or runs of neighbours with a common prefix."""
    begin = 0
    for place in range(1, len(rows)):
        if not (together or _alike(rows[place - 1].ids, rows[place].ids)):
            yield Unit(item, begin, rows[begin:place])
            begin = place
    if rows:
        yield Unit(item, begin, rows[begin:])


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    length = int(ALIKE * min(len(one), len(other)))
    return bool((one[:length] == other[:length]).all())


def order(count: int, seed: str) -> list[int]:
    """The order in which `count` items are packed."""
    found = list(range(count))
    random.Random(seed).shuffle(found)
    return found


def pack(
    items: Sequence[Sequence[Row]],
    tokens: int,
    seed: str,
    *,
    together: bool = False,
    only: Sequence[int] | None = None,
) -> Iterator[Block]:
    """Blocks of at most `tokens` tokens, in an order given by `seed`. `together`: keep all rows of an item in one
    block. `only`: indices of the items to pack.

    Items are shuffled; in each group of `AMONG` the longest are placed first, each into the fullest open block with
    room, so that little space is wasted and the order stays random. A unit longer than `tokens` gets its own block.
    """
    shuffled = order(len(items), seed) if only is None else [only[place] for place in order(len(only), seed)]
    drawn = random.Random(seed)
    open_: list[Block] = []
    for begin in range(0, len(shuffled), AMONG):
        group = shuffled[begin : begin + AMONG]
        some = [unit for item in group for unit in units(item, items[item], together=together)]
        full: list[Block] = []
        for unit in sorted(some, key=lambda one: -one.tokens):
            _fit(open_, unit, tokens)
            if len(open_) > OPEN:
                full.append(open_.pop(max(range(len(open_)), key=lambda place: open_[place].tokens)))
        drawn.shuffle(full)
        yield from full
    drawn.shuffle(open_)
    yield from open_


def _fit(open_: list[Block], unit: Unit, tokens: int) -> None:
    """Add the unit to the fullest block that has room, else to a new block."""
    for block in sorted(open_, key=lambda one: -one.tokens):
        if block.new_tokens(unit.rows) <= tokens - block.tokens:
            break
    else:
        open_.append(block := Block())
    for number, row in enumerate(unit.rows, unit.first):
        block.add(unit.item, number, row)


def grouped(blocks: Iterable[Block], tokens: int) -> Iterator[list[Block]]:
    """Blocks in order, in groups of at most `tokens` tokens and at least one block."""
    some: list[Block] = []
    for block in blocks:
        if some and sum(one.tokens for one in some) + block.tokens > tokens:
            yield some
            some = []
        some.append(block)
    if some:
        yield some
