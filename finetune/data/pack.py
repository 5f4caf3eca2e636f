"""Rows -> blocks of about one size, in which rows share their common beginning and see nothing of one another.

A block is a forest of tokens: each attends to the token before it in its row, the one before that, and so on. Rows that
begin alike, as those under one system message, the two replies of a preference, or the windows of reasoned replies,
share these tokens: they are computed once and their gradients add up, so that the loss and the gradients are those of
the rows one by one. The tokens that a row adds lie together as one segment.

Packing takes a few hundred items at a time, so that its memory doesn't grow with the dataset.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from finetune.data.tokens import Row, SoftTargets

ROUND_TO = 64
"""Tokens that are computed together are a multiple of this."""
AMONG = 256
"""Items that are sorted by length before they are packed."""
OPEN = 8
"""Blocks that an item is tried in."""
ALIKE = 0.5
"""Share of the shorter of two neighbouring rows of an item that must be common to both, to pack them together."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens begin..end of a block, each after the one before it; the first follows the last token of `before`."""

    begin: int
    end: int
    before: tuple[Range, ...]
    """Ranges of tokens that all of the segment attend to, in order."""


@dataclass(slots=True)
class _Node:
    """Tokens that rows have in common. `children`: by the first token of what follows."""

    begin: int
    ids: np.ndarray
    children: "dict[int, _Node]" = field(default_factory=dict)


Teacher = Literal["", "start", "base"]
"""Whose distributions are the targets: those of the model that the training begins with, or of the base. Empty: the
targets are the tokens themselves."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Items that are read beside others, with their share of the tokens."""

    items: range
    share: float
    teacher: Teacher = ""


@dataclass(slots=True)
class Block:
    """Tokens of one or more rows. The token at `sources[k]` predicts those in `targets[k]`, by their `weights[k]`, for
    row `owners[k]` of the block.
    """

    tokens: int = 0
    supervised: int = 0
    segments: list[Segment] = field(default_factory=list)
    rows: list[tuple[int, int]] = field(default_factory=list)
    """Of each row its item, by its place in what was given, and its number among that item's rows."""
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
        """(T,) int32: the place of each token in its row."""
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
        """The items whose rows it holds."""
        return list(dict.fromkeys(item for item, _ in self.rows))

    def new_tokens(self, rows: Sequence[Row]) -> int:
        """How many tokens the block would grow by. Beginnings that the rows share only with one another count each."""
        return sum(len(row.ids) - self._walk(row.ids)[0] for row in rows)

    def add(self, item: int, number: int, row: Row) -> None:
        """Take in a row."""
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
        """Its rows in two blocks; of a single item's, the block as it is."""
        own = self.items
        if len(own) < 2:
            return [self]
        some = set(own[: len(own) // 2])
        halves = [Block(), Block()]
        for item, number in self.rows:
            halves[item not in some].add(item, number, items[item][number])
        return halves

    def _walk(self, ids: np.ndarray) -> tuple[int, tuple[Range, ...], _Node | None, int]:
        """How many tokens of a row the block holds already; their ranges; the node they end in, and where in it."""
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
        """Let `new` follow the first `inside` tokens of `node`."""
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
    """(n, K) each -> below one another, as wide as the widest, zeros at the right."""
    width = max((part.shape[1] for part in parts), default=1)
    made = np.zeros((sum(map(len, parts)), width), kind)
    at = 0
    for part in parts:
        made[at : at + len(part), : part.shape[1]] = part
        at += len(part)
    return made


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows of one item that have to be, or had better be, in one block; `first`: the number of the first of them."""

    item: int
    first: int
    rows: Sequence[Row]

    @property
    def tokens(self) -> int:
        """Without what the rows share counted once."""
        return sum(len(row.ids) for row in self.rows)


def units(item: int, rows: Sequence[Row], *, together: bool) -> Iterator[Unit]:
    """An item's rows as what is packed: all of them together, or neighbours that begin alike."""
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
    """The order in which so many items are packed."""
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
    """Blocks of at most `tokens` tokens in an order that `seed` decides. `together`: all rows of an item in one block.
    `only`: of these items.

    Items are shuffled; of each next few hundred the longest come first, each into the fullest open block that has room
    for it, so that little is left empty and the order stays random. What is more than a block holds gets one of its
    own, which is as much larger as it must be.
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
    """Into the fullest that has room, or a new one."""
    for block in sorted(open_, key=lambda one: -one.tokens):
        if block.new_tokens(unit.rows) <= tokens - block.tokens:
            break
    else:
        open_.append(block := Block())
    for number, row in enumerate(unit.rows, unit.first):
        block.add(unit.item, number, row)


def grouped(blocks: Iterable[Block], tokens: int) -> Iterator[list[Block]]:
    """Blocks in order, as many at a time as have at most `tokens` tokens, at least one."""
    some: list[Block] = []
    for block in blocks:
        if some and sum(one.tokens for one in some) + block.tokens > tokens:
            yield some
            some = []
        some.append(block)
    if some:
        yield some
