"""What a model could say before, replayed in a training, so that it isn't forgotten.

Beside what is new a training that goes on from an adapter reads examples of the frozen training parts behind the
adapter, and general text. The examples' targets are what the adapter says before the training (`distill`): so the
replay holds what was learned, and doesn't learn the same examples once more. General text is learned as it stands.
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

from assistant.engine.chat_format import ChatFormat
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
from finetune.network.model import Trainee
from finetune.plan import Shape

KINDS = ("supervised", "preference", "label")
"""Of datasets whose last reply is meant to be said."""
CHARACTERS = 5
"""Of an example for each token that the steps will read."""
NOTHING = SoftTargets(np.empty((0, 1), np.int32), np.empty((0, 1), np.float32))
GENERAL_SHARE = 0.1
"""Of the tokens of a training from an adapter, where none is given."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the tokens of a training, for what is replayed."""

    earlier: float = 0.0
    general: float = 0.0

    @classmethod
    def of(cls, config: TrainConfig, *, from_adapter: bool) -> "Shares":
        """Those of a training."""
        if not from_adapter:
            return cls(general=config.general_share)
        return cls(config.replay_share, config.general_share or GENERAL_SHARE)


def sampled(db: Database, behind: Sequence[Dataset], without: Collection[str], tokens: float, seed: int) -> list[int]:
    """Ids of the examples to replay: at least so many tokens where there are so many, drawn by chance. The datasets
    have equal parts of every beginning of the list, as far as a small one goes.

    `without`: hashes of examples that are not wanted. Cost grows with the number of examples, not with their text.
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
    """Rows of public-domain prose, every token of which is predicted; other texts than `forgetting` measures on."""
    return forgetting.rows(form, limit, BUILTIN, most_tokens=0)


def mixed(
    new: Lessons, earlier: Sequence[Example], general: Sequence[list[Row]], shares: Shares, tokenizer: Tokenizer
) -> Lessons:
    """The new lessons with earlier examples and general text beside them."""
    old = lessons("supervised", earlier, tokenizer, 0).items if earlier else []
    parts: list[tuple[Sequence[Sequence[Row]], float, Teacher]] = [
        (general, shares.general, ""),  # with 16 candidates of the base as targets it got 12 % less likely
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
    """Keep in `file` what the model says in the replayed items that the steps will read. A forward pass of each."""
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
    """Make what `ask` kept the targets of these items. Raises `TrainingRefused` where the file is gone or damaged."""
    places = _read(part, shape, seed)
    try:
        known = load_file(file)
    except (OSError, SafetensorError) as error:
        raise TrainingRefused(
            f"What the run replays can't be read: {error}. Without {file} it can't go on: begin another training."
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
    """The items with a teacher in the steps of a whole training, in order."""
    taught = {item for one in part.streams if one.teacher for item in one.items}
    steps = islice(plan.steps_of_blocks(part, shape, seed, 0), shape.steps)
    return sorted({item for blocks in steps for block in blocks for item in block.items if item in taught})
