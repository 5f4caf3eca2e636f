"""The plan of a training: steps, tokens of each step, and when the validation loss is measured."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from assistant.errors import TrainingRefused
from finetune import defaults
from finetune.config import TrainConfig
from finetune.data import pack
from finetune.data.pack import Block

if TYPE_CHECKING:
    import torch

    from finetune.data.lessons import Lessons

BLOCK_TOKENS = 1024
"""Size of the blocks that rows are packed into; a longer row gets a block of its own."""
CPU_TOKENS_AT_ONCE, GPU_TOKENS_AT_ONCE = 2048, 8192
"""Tokens of a forward pass. Fewer are slower on a CPU: two cores with AMX computed 810 tokens/s with 800 tokens, 980
with 1,400 and 1,080 with 2,000."""
CPU_TOKENS_ELSEWHERE = 512
"""Tokens of a forward pass by transformers on a CPU, which keeps five to ten times as much for the backward pass."""
LOOKS = 8
"""Measurements of the validation loss in a training."""
LOOK_SHARE = 0.1
"""Share of a training's time that all validation measurements may take."""
FEWEST_LOOKED_AT = 4096
"""Tokens of a validation measurement, if the validation part has that many."""
COUNTED_CHARACTERS = 1_000_000
"""Characters of the training part that are tokenised to plan it; the rest is extrapolated."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How examples become steps. Stored with a run, so that a resumed run cuts its data in the same way."""

    block_tokens: int
    tokens_at_once: int
    tokens_per_step: int
    steps: int
    validate_every: int
    look_tokens: int = 0
    """Tokens of the validation part in each measurement; 0: all."""
    batch_tokens: int = 0
    """Tokens of the largest forward pass."""

    @classmethod
    def from_json(cls, fields: Mapping[str, int]) -> "Shape":
        """Read what `as_json` wrote."""
        return cls(**fields)

    def as_json(self) -> dict[str, Any]:
        """The shape as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Measured:
    """This machine's training speed, measured before the first step."""

    tokens_per_s: float
    supervised_share: float
    """Share of the tokens that count in the loss."""


def shape(lessons: "Lessons", config: TrainConfig, device: "torch.device", *, own: bool = True) -> Shape:
    """The shape for these lessons; a large dataset is tokenised in part. `own`: whether this package's forward pass is
    used, not transformers'.
    """
    cpu = CPU_TOKENS_AT_ONCE if own else CPU_TOKENS_ELSEWHERE
    at_once = config.tokens_at_once or (cpu if device.type == "cpu" else GPU_TOKENS_AT_ONCE)
    block = config.block_tokens or BLOCK_TOKENS
    epoch = epoch_of(lessons, block, config.seed)
    tokens = round(defaults.epochs(config) * epoch.tokens)
    per_step = defaults.tokens_per_step(config, tokens)
    steps = config.steps or max(1, round(tokens / per_step))
    largest = max(epoch.largest_block, min(at_once, per_step + block // 2, epoch.tokens))
    return with_looks(Shape(block, at_once, per_step, steps, 1, batch_tokens=largest), config)


def with_looks(shape_: Shape, config: TrainConfig) -> Shape:
    """The shape with as many validation tokens as `LOOK_SHARE` of the time allows: a forward pass takes a third of a
    training step's time for each token."""
    every = config.validate_every or max(1, math.ceil(shape_.steps / LOOKS))
    looks = max(1, shape_.steps // every)
    tokens = int(3 * LOOK_SHARE * shape_.steps * shape_.tokens_per_step / looks)
    fields = {**shape_.as_json(), "validate_every": every, "look_tokens": max(FEWEST_LOOKED_AT, tokens)}
    return Shape.from_json(fields)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Packed size of one epoch, in tokens."""

    tokens: int
    largest_block: int


def epoch_of(lessons: "Lessons", block_tokens: int, seed: int) -> Epoch:
    """The size of one epoch; of a large dataset extrapolated from the items that come first."""
    lengths, counted, some = lessons.characters, 0, list[int]()
    for place in pack.order(len(lessons.items), epoch_seed(seed, 0)):
        if some and counted + lengths[place] > COUNTED_CHARACTERS:
            break
        some.append(place)
        counted += lengths[place]
    blocks = pack.pack(lessons.items, block_tokens, "", together=lessons.together, only=some)
    tokens = [block.tokens for block in blocks]
    return Epoch(round(sum(tokens) * sum(lengths) / max(1, counted)), max(tokens, default=0))


def beside(shape_: Shape, lessons: "Lessons", config: TrainConfig) -> Shape:
    """The shape with more steps where other items are replayed, so that new items are seen as often as without."""
    if config.steps or not lessons.streams:
        return shape_
    return with_looks(replace(shape_, steps=math.ceil(shape_.steps / lessons.streams[0].share)), config)


def within_budget(shape_: Shape, measured: Measured, config: TrainConfig) -> Shape:
    """The shape with the most steps that fit nine tenths of the budget. Unless tokens_per_step is set, it is chosen for
    that number of tokens. Raises `TrainingRefused` if there is no time for one step.
    """
    share = 54 * (1 - LOOK_SHARE)  # seconds of each minute
    tokens = round(share * config.budget_minutes * measured.tokens_per_s)
    planned = shape_.steps * shape_.tokens_per_step
    per_step = shape_.tokens_per_step if config.steps else defaults.tokens_per_step(config, min(tokens, planned))
    steps = min(tokens, max(planned, per_step)) // per_step
    if steps < 1:
        step_s = per_step / measured.tokens_per_s
        raise TrainingRefused(
            f"One step of {per_step:,} tokens takes {step_s:.0f} s: {60 * config.budget_minutes:.0f} s are too few. "
            f"Give --budget {step_s / share:.1g} or more."
        )
    return with_looks(replace(shape_, tokens_per_step=per_step, steps=steps), config)


def validation_blocks(validation: "Lessons", shape_: Shape) -> list[Block]:
    """Validation blocks to measure the loss on: all, or always the same random sample."""
    order = list(range(len(validation.items)))
    random.Random("validation").shuffle(order)
    some, tokens = list[int](), 0
    for place in order:
        if tokens and shape_.look_tokens and tokens >= shape_.look_tokens:
            break
        some.append(place)
        tokens += sum(len(row.ids) for row in validation.items[place])
    return list(pack.pack(validation.items, shape_.block_tokens, "validation", together=validation.together, only=some))


def epoch_seed(seed: int | str, epoch: int) -> str:
    """Seed of the order of one epoch."""
    return f"{seed} epoch {epoch}"


def steps_of_blocks(lessons: "Lessons", shape_: Shape, seed: int, begin: int) -> Iterator[list[Block]]:
    """Blocks of each step from step `begin` on, endlessly."""
    return islice(_steps(lessons, shape_, seed), begin, None)


def _steps(lessons: "Lessons", shape_: Shape, seed: int) -> Iterator[list[Block]]:
    """Steps of about `tokens_per_step` tokens: blocks differ in size, and every block is used."""
    waiting: list[Block] = []
    owed = float(shape_.tokens_per_step)
    for block in _blocks(lessons, shape_, seed):
        if waiting and owed < block.tokens / 2:
            yield waiting
            waiting, owed = [], owed + shape_.tokens_per_step
        waiting.append(block)
        owed -= block.tokens


def _blocks(lessons: "Lessons", shape_: Shape, seed: int) -> Iterator[Block]:
    """Blocks, endlessly. With several streams the next block is of the stream that is furthest behind its share.

    Blocks of a stream are scaled by its share, so that every step contains all streams.
    """
    streams = lessons.streams or [pack.Stream(range(len(lessons.items)), 1.0)]
    blocks = [_epochs(lessons, one, round(one.share * shape_.block_tokens), seed) for one in streams]
    lacking = [0.0] * len(streams)
    while True:
        most = lacking.index(max(lacking))
        block = next(blocks[most])
        lacking = [lack + one.share * block.tokens for lack, one in zip(lacking, streams, strict=True)]
        lacking[most] -= block.tokens
        yield block


def _epochs(lessons: "Lessons", stream: pack.Stream, tokens: int, seed: int) -> Iterator[Block]:
    """Blocks of a stream, epoch after epoch, endlessly. A replayed stream roughly keeps its order."""
    items, epoch = stream.items, 0
    at_once = pack.AMONG if stream.teacher else len(items)
    while True:
        for begin in range(items.start, items.stop, at_once):
            some = range(begin, min(begin + at_once, items.stop))
            order = epoch_seed(f"{seed} {begin}" if begin else seed, epoch)
            yield from pack.pack(lessons.items, tokens, order, together=lessons.together, only=some)
        epoch += 1
