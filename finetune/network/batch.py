"""Blocks as tensors: flat for this package's forward pass, padded with a mask for transformers'."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from finetune.data.pack import ROUND_TO, Block, Segment, widened


@dataclass(frozen=True)
class Batch:
    """Concatenated blocks: N tokens, S supervised predictions, R rows."""

    ids: Tensor
    """(N,) int64."""
    positions: Tensor
    """(N,) int64."""
    sources: Tensor
    """(S,) int64, index into the N tokens: the token that predicts."""
    targets: Tensor
    """(S, K) int64: predicted tokens, one unless targets are soft."""
    weights: Tensor
    """(S, K) float32, rows adding up to 1: weights of the targets."""
    owners: Tensor
    """(S,) int64: index of the prediction's row in the batch."""
    segments: tuple[Segment, ...]
    lengths: tuple[int, ...]
    """Tokens of each block."""
    rows: tuple[tuple[int, int], ...]
    """(item, row number within the item) of each row."""
    items: tuple[int, ...]
    """Items of all blocks, in the order of their rows."""
    tokens: int
    """Number of tokens without padding."""

    @cached_property
    def padded(self) -> "Padded":
        """The blocks as rows of a matrix, for transformers."""
        return _padded(self)

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})


_FLAT = ("ids", "positions", "sources", "owners")
_TENSORS = (*_FLAT, "targets", "weights")


def batch(blocks: Sequence[Block]) -> Batch:
    """Concatenate blocks, padded to a multiple of `ROUND_TO` tokens, as each new shape costs a tenth of a second once.

    Without blocks it is padding only: with several processes each has to compute something.
    """
    flat, rows, segments = {name: list[np.ndarray]() for name in _FLAT}, list[tuple[int, int]](), list[Segment]()
    at = 0
    for block in blocks:
        shifts = {"sources": at, "owners": len(rows)}
        for name, parts in flat.items():
            parts.append(getattr(block, name).astype(np.int64) + shifts.get(name, 0))
        segments += [_shifted(one, at) for one in block.segments]
        rows += block.rows
        at += block.tokens
    padding = -at % ROUND_TO or (0 if at else ROUND_TO)
    if padding:
        flat["ids"].append(np.zeros(padding, np.int64))
        flat["positions"].append(np.arange(padding, dtype=np.int64))
        segments.append(Segment(at, at + padding, ()))
    tensors = {name: torch.from_numpy(np.concatenate([*parts, np.empty(0, np.int64)])) for name, parts in flat.items()}
    tensors["targets"] = torch.from_numpy(widened([block.targets for block in blocks], np.int64))
    tensors["weights"] = torch.from_numpy(widened([block.weights for block in blocks], np.float32))
    lengths = [*(block.tokens for block in blocks), *([padding] if padding else [])]
    return Batch(
        **tensors,
        segments=tuple(segments),
        lengths=tuple(filter(None, lengths)),
        rows=tuple(rows),
        items=tuple(item for block in blocks for item in block.items),
        tokens=at,
    )


def _shifted(one: Segment, by: int) -> Segment:
    return Segment(one.begin + by, one.end + by, tuple((begin + by, end + by) for begin, end in one.before))


@dataclass(frozen=True, slots=True)
class Padded:
    """B blocks of T tokens, a multiple of `ROUND_TO`."""

    ids: Tensor
    """(B, T) int64."""
    positions: Tensor
    """(B, T) int64."""
    sees: Tensor
    """(B, 1, T, T) bool: whether the row's token attends to the column's."""
    places: Tensor
    """(N,) int64: index into B * T of each token of the batch."""


def _padded(one: Batch) -> Padded:
    width = -(-max(one.lengths) // ROUND_TO) * ROUND_TO
    starts = np.cumsum([0, *one.lengths])
    block_of = np.repeat(np.arange(len(one.lengths)), one.lengths)
    places = torch.from_numpy(block_of * width + np.arange(starts[-1]) - starts[block_of])
    sees = np.zeros((len(one.lengths), 1, width, width), np.bool_)
    diagonal = np.arange(width)
    sees[:, 0, diagonal, diagonal] = True  # padding attends to itself, as a softmax over nothing gives NaN
    for segment in one.segments:
        number = int(block_of[segment.begin])
        rows, at = sees[number, 0], int(starts[number])
        begin, end = segment.begin - at, segment.end - at
        for start, stop in segment.before:
            rows[begin:end, start - at : stop - at] = True
        rows[begin:end, begin:end] |= np.tri(end - begin, dtype=np.bool_)
    device = one.ids.device
    places = places.to(device)
    ids, positions = (torch.zeros(len(one.lengths) * width, dtype=torch.int64, device=device) for _ in range(2))
    ids[places], positions[places] = one.ids, one.positions
    shape = len(one.lengths), width
    return Padded(ids.view(shape), positions.view(shape), torch.from_numpy(sees).to(device), places)
