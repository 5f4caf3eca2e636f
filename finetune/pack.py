"""Rows -> blocks of one shape, in which rows share their common beginning and see nothing of one another.

A block is a forest of tokens: each token follows one parent and attends to that, the parent's parent and so on up to
the first. Rows that begin alike, as those under one system message, the two replies of a preference, or the branches of
a conversation, share these tokens: they are computed once and their gradients add up, so that the loss and the
gradients are those of the rows one by one. One shape, because each new one costs seconds of preparation on a CPU.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from finetune.tokens import Row

ROUND_TO = 64
"""A block's tokens are a multiple of this."""
SHORTEST = 256
"""Shorter blocks don't pay: products of few rows are slow, and little is shared."""


@dataclass(slots=True)
class Block:
    """Tokens of one or more rows. `sources[k]` predicts `targets[k]`, which counts for row `owners[k]` of the block."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    """Of each token the one that it follows; -1 for a first one."""
    sources: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    """What was packed, by its place in the list that was given."""
    rows: int = 0
    """How many rows were added."""
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def new_tokens(self, rows: Sequence[Row]) -> int:
        """How many tokens the block would grow by. Beginnings that the rows share only with one another count each."""
        return sum(len(row.ids) - self._shared(row)[0] for row in rows)

    def add(self, item: int, rows: Sequence[Row]) -> None:
        """Take in the rows of one item."""
        self.items.append(item)
        for row in rows:
            self._add(row)

    def _shared(self, row: Row) -> tuple[int, int]:
        """(how many tokens the row begins alike, the last of them in the block)."""
        at = -1
        for depth, token in enumerate(row.ids):
            child = self._children.get((at, token))
            if child is None:
                return depth, at
            at = child
        return len(row.ids), at

    def _add(self, row: Row) -> None:
        owner, at = self.rows, -1
        for depth, (token, learned) in enumerate(zip(row.ids, row.learned, strict=True)):
            if learned and not row.tags and at >= 0:
                self._learn(at, token, owner)
            child = self._children.get((at, token))
            if child is None:
                child = len(self.ids)
                self._children[at, token] = child
                self.ids.append(token)
                self.positions.append(depth)
                self.parents.append(at)
            if learned and row.tags:
                self._learn(child, row.tags[depth], owner)
            at = child
        self.rows += 1

    def _learn(self, source: int, target: int, owner: int) -> None:
        self.sources.append(source)
        self.targets.append(target)
        self.owners.append(owner)


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks side by side. B blocks of T tokens, S supervised ones, R rows."""

    ids: Tensor
    """(B, T) int64."""
    positions: Tensor
    """(B, T) int64."""
    sees: Tensor
    """(B, 1, T, T) bool: whether the token of a row attends to that of a column."""
    sources: Tensor
    """(S,) int64, into the B * T tokens."""
    targets: Tensor
    """(S,) int64."""
    owners: Tensor
    """(S,) int64: the row, numbered through the batch."""
    rows: int
    items: tuple[int, ...]
    """The items of all blocks, in the order of their rows."""
    tokens: int
    """Without padding."""

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        moved = {name: getattr(self, name).to(device) for name in _TENSORS}
        return replace(self, **moved)


_TENSORS = ("ids", "positions", "sees", "sources", "targets", "owners")


def block_tokens(longest: int, wanted: int = 0) -> int:
    """The size of blocks for rows of at most `longest` tokens: `wanted`, or what holds them."""
    size = max(wanted or SHORTEST, longest)
    return -(-size // ROUND_TO) * ROUND_TO


AMONG = 256
"""Items that are sorted by length before they are packed."""
OPEN = 8
"""Blocks that an item is tried in."""


def pack(items: Sequence[Sequence[Row]], tokens: int, seed: str) -> list[Block]:
    """Blocks of at most `tokens` tokens that hold each item's rows together, in an order that `seed` decides.

    Items are shuffled; of each next few hundred the longest come first, each into the fullest open block that has room
    for it, so that little is left empty and the order stays random. An item whose rows are more than a block holds
    gets one of its own, which is as much larger as it must be.
    """
    order = [item for item, rows in enumerate(items) if rows]
    random.Random(seed).shuffle(order)
    packed: list[Block] = []
    open_: list[Block] = []
    for begin in range(0, len(order), AMONG):
        for item in sorted(order[begin : begin + AMONG], key=lambda one: -sum(len(row.ids) for row in items[one])):
            _fit(open_, item, items[item], tokens)
            if len(open_) > OPEN:
                fullest = max(range(len(open_)), key=lambda place: len(open_[place].ids))
                packed.append(open_.pop(fullest))
    packed += open_
    random.Random(seed).shuffle(packed)
    return packed


def _fit(open_: list[Block], item: int, rows: Sequence[Row], tokens: int) -> None:
    """Into the fullest that has room, or a new one."""
    for block in sorted(open_, key=lambda one: -len(one.ids)):
        if block.new_tokens(rows) <= tokens - len(block.ids):
            block.add(item, rows)
            return
    open_.append(Block())
    open_[-1].add(item, rows)


def batch(blocks: Sequence[Block], tokens: int) -> Batch:
    """Blocks padded to `tokens`, or to the longest where that is longer."""
    width = max([tokens, *(-(-len(block.ids) // ROUND_TO) * ROUND_TO for block in blocks)])
    ids = np.zeros((len(blocks), width), np.int64)
    positions = np.zeros_like(ids)
    sees = np.zeros((len(blocks), 1, width, width), np.bool_)
    sources: list[int] = []
    owners: list[int] = []
    rows = 0
    for number, block in enumerate(blocks):
        length = len(block.ids)
        ids[number, :length] = block.ids
        positions[number, :length] = block.positions
        _see(sees[number, 0], block.parents)
        sources += [number * width + source for source in block.sources]
        owners += [rows + owner for owner in block.owners]
        rows += block.rows
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.from_numpy(sees),
        torch.tensor(sources, dtype=torch.int64),
        torch.tensor([target for block in blocks for target in block.targets], dtype=torch.int64),
        torch.tensor(owners, dtype=torch.int64),
        rows,
        tuple(item for block in blocks for item in block.items),
        sum(len(block.ids) for block in blocks),
    )


def _see(sees: np.ndarray, parents: Sequence[int]) -> None:
    """Fill (T, T) by what each token descends from. Padding sees itself: a row of nothing would give NaN."""
    for token, parent in enumerate(parents):
        if parent >= 0:
            sees[token, : parent + 1] = sees[parent, : parent + 1]
        sees[token, token] = True
    rest = np.arange(len(parents), len(sees))
    sees[rest, rest] = True


def batches(blocks: Sequence[Block], at_once: int, tokens: int) -> Iterator[Batch]:
    """The blocks in order, `at_once` at a time; the last batch is filled up with empty ones, to keep the shape."""
    for begin in range(0, len(blocks), at_once):
        some = list(blocks[begin : begin + at_once])
        some += [Block() for _ in range(at_once - len(some))]
        yield batch(some, tokens)
