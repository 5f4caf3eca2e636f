"""Replay in further training, so that earlier skills aren't forgotten.

A training that starts from an adapter mixes in examples of the training parts behind it, and general text. The
examples' targets are the adapter's own distributions before the training (`distill`): so replay preserves what was
learned and doesn't learn the same examples a second time. General text is learned as plain tokens.
"""

import random
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sqlite_utils import Database

from assistant.engine.generate.chat_format import ChatFormat
from assistant.errors import TrainingRefused
from assistant.store.training import datasets
from assistant.store.training.datasets import Dataset
from finetune import plan
from finetune.config import TrainConfig
from finetune.data import forgetting, pack
from finetune.data.dataset import BUILTIN, CANARY
from finetune.data.example import Example
from finetune.data.lessons import Lessons, Rows, lessons
from finetune.data.pack import Stream, Teacher, widened
from finetune.data.tokens import Row, SoftTargets, Tokenizer
from finetune.lineage.distill import softened
from finetune.network.trainee import Trainee
from finetune.plan import Shape

KINDS = ("supervised", "preference", "label")
"""Kinds of dataset whose last reply is a good one."""
CHARACTERS = 5
"""Characters of replayed examples for each token that the steps will read."""
NOTHING = SoftTargets(np.empty((0, 1), np.int32), np.empty((0, 1), np.float32))
GENERAL_SHARE = 0.1
"""Default share of general text in a training from an adapter."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of a training's tokens that are replayed."""

    earlier: float = 0.0
    general: float = 0.0

    @classmethod
    def of(cls, config: TrainConfig, *, from_adapter: bool) -> "Shares":
        """The shares for a training's settings."""
        if not from_adapter:
            return cls(general=config.general_share)
        return cls(config.replay_share, config.general_share or GENERAL_SHARE)


def sampled(db: Database, behind: Sequence[Dataset], without: Collection[str], tokens: float, seed: int) -> list[int]:
    """Ids of examples to replay, a random sample with at least `tokens` tokens if there are as many. Datasets have
    equal shares of every prefix of the list, as far as small ones last.

    `without`: hashes of examples to exclude. Reads sizes only, not texts.
    """
    waiting: list[deque[tuple[int, int]]] = []
    seen = set(without)
    for dataset in behind:
        if dataset.kind in KINDS:
            drawn = {
                hash_: (id_, size)
                for id_, size, hash_, source in datasets.sizes(db, dataset.id, "train")
                if source != CANARY and hash_ not in seen
            }
            seen |= drawn.keys()
            order = list(drawn.values())
            random.Random(f"{seed} replay {dataset.hash}").shuffle(order)
            waiting.append(deque(order))
    taken, chosen = [0] * len(waiting), list[int]()
    while sum(taken) < CHARACTERS * tokens and any(waiting):
        least = min((place for place, some in enumerate(waiting) if some), key=taken.__getitem__)
        id_, size = waiting[least].popleft()
        chosen.append(id_)
        taken[least] += size
    return chosen


def general_text(form: ChatFormat, limit: int) -> list[list[Row]]:
    """Rows of public-domain prose that learn every token; not the text that `forgetting` measures on."""
    return forgetting.rows(form, limit, BUILTIN, most_tokens=0)


def mixed(
    new: Lessons, earlier: Sequence[Example], general: Sequence[list[Row]], shares: Shares, tokenizer: Tokenizer
) -> Lessons:
    """The new lessons with earlier examples and general text mixed in."""
    old = lessons("supervised", earlier, tokenizer, 0).items if earlier else []
    parts: list[tuple[Sequence[Sequence[Row]], float, Teacher]] = [
        (general, shares.general, ""),  # with soft targets of 16 tokens it became 12 % less likely
        (old, shares.earlier, "start"),
    ]
    parts = [one for one in parts if len(one[0]) and one[1]]
    if not parts:
        return new
    parts.insert(0, (new.items, 1 - sum(share for _, share, _ in parts), ""))
    ends = list(accumulate(len(items) for items, _, _ in parts))
    streams = [
        Stream(range(end - len(items), end), share, teacher)
        for end, (items, share, teacher) in zip(ends, parts, strict=True)
    ]

    def rows(place: int) -> list[Row]:
        number = next(at for at, one in enumerate(streams) if place in one.items)
        return list(parts[number][0][place - streams[number].items.start])

    return replace(new, items=Rows(ends[-1], rows), streams=streams)


def ask(trainee: Trainee, part: Lessons, shape: Shape, seed: int, file: Path, device: torch.device) -> None:
    """Compute soft targets of the replayed items that the steps will read, by a forward pass each, and store them."""
    read, soft = _read(part, shape, seed), [NOTHING]
    for stream in (one for one in part.streams if one.teacher):
        items = [list(part.items[place]) for place in read if place in stream.items]
        blocks = pack.pack(items, shape.block_tokens, "replay")
        with trainee.base() if stream.teacher == "base" and trainee.is_adapted else nullcontext():
            said = softened(trainee, items, blocks, shape.tokens_at_once, device)
        soft += [row.soft for rows in said for row in rows if row.soft is not None]
    tensors = {"ids": widened([one.ids for one in soft], np.int32)}
    tensors["weights"] = widened([one.weights for one in soft], np.float32)
    new = file.with_suffix(".new")
    save_file(tensors, new)
    new.replace(file)


def take(part: Lessons, shape: Shape, seed: int, file: Path) -> None:
    """Set the stored soft targets. Raises `TrainingRefused` if the file is missing or damaged."""
    places = _read(part, shape, seed)
    try:
        known = load_file(file)
    except (OSError, SafetensorError) as error:
        raise TrainingRefused(
            f"The replayed targets can't be read: {error}. Without {file} the run can't go on: begin another training."
        ) from error
    at = 0
    for place in places:
        rows: list[Row] = []
        for row in part.items[place]:
            end = at + row.supervised
            soft = SoftTargets(known["ids"][at:end], known["weights"][at:end])
            rows, at = [*rows, replace(row, soft=soft)], end
        part.items[place] = rows  # type: ignore[index]


def _read(part: Lessons, shape: Shape, seed: int) -> list[int]:
    """Sorted items with a teacher that the steps of the whole training read."""
    taught = {item for one in part.streams if one.teacher for item in one.items}
    steps = islice(plan.steps_of_blocks(part, shape, seed, 0), shape.steps)
    return sorted({item for blocks in steps for block in blocks for item in block.items if item in taught})
