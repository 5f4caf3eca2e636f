"""What a training will do: how many steps of how many tokens, and how often it looks at the validation part."""

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
"""Of the blocks that rows are packed into; a longer row is a block of its own."""
CPU_TOKENS_AT_ONCE, GPU_TOKENS_AT_ONCE = 2048, 8192
"""Tokens of a forward pass. On a CPU fewer are slower: two cores with AMX computed 810 tokens/s with 800 at once, 980
with 1,400 and 1,080 with 2,000."""
CPU_TOKENS_ELSEWHERE = 512
"""The same of a forward pass by transformers, which keeps five to ten times as much for the backward pass."""
LOOKS = 8
"""At the validation loss, in a training."""
LOOK_SHARE = 0.1
"""Of the time of a training, for all of them."""
FEWEST_LOOKED_AT = 4096
"""Tokens of a look, where the validation part has so many."""
COUNTED_CHARACTERS = 1_000_000
"""Of a training part that is tokenised before it begins; of what is more the length is an estimate."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How examples become steps. It is kept with a run: a resumed one must cut its data as before."""

    block_tokens: int
    tokens_at_once: int
    tokens_per_step: int
    steps: int
    validate_every: int
    look_tokens: int = 0
    """Of the validation part, in each look; 0: all."""
    batch_tokens: int = 0
    """Of the largest forward pass."""

    @classmethod
    def from_json(cls, fields: Mapping[str, int]) -> "Shape":
        """What `as_json` made."""
        return cls(**fields)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Measured:
    """How fast this machine trains, measured before the first step."""

    tokens_per_s: float
    supervised_share: float
    """Of the tokens."""


def shape(lessons: "Lessons", config: TrainConfig, device: "torch.device", *, own: bool = True) -> Shape:
    """The shape for these lessons. Of a large dataset a part is tokenised. `own`: whether our own forward pass is
    used.
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
    """The shape with looks at the validation part that take their share of its time: forward passes cost a third."""
    every = config.validate_every or max(1, math.ceil(shape_.steps / LOOKS))
    looks = max(1, shape_.steps // every)
    tokens = int(3 * LOOK_SHARE * shape_.steps * shape_.tokens_per_step / looks)
    fields = {**shape_.as_json(), "validate_every": every, "look_tokens": max(FEWEST_LOOKED_AT, tokens)}
    return Shape.from_json(fields)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Tokens of all lessons, packed, and of the largest block."""

    tokens: int
    largest_block: int


def epoch_of(lessons: "Lessons", block_tokens: int, seed: int) -> Epoch:
    """One epoch; of very many lessons an estimate by those that will be learned first."""
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
    """The shape with more steps where other items are read beside the new ones, so that these are read as often."""
    if config.steps or not lessons.streams:
        return shape_
    return with_looks(replace(shape_, steps=math.ceil(shape_.steps / lessons.streams[0].share)), config)


def within_budget(shape_: Shape, measured: Measured, config: TrainConfig) -> Shape:
    """The shape with the most steps that the budget has room for, a tenth of it left over; where it isn't given, with
    as many tokens a step as suit so short a training. Raises `TrainingRefused` where there is no time for one step.
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


def looked_at(validation: "Lessons", shape_: Shape) -> list[Block]:
    """The blocks of the validation part that are looked at: all of it, or examples by chance, always the same."""
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
    """What decides the order of one epoch."""
    return f"{seed} epoch {epoch}"


def steps_of_blocks(lessons: "Lessons", shape_: Shape, seed: int, begin: int) -> Iterator[list[Block]]:
    """The blocks of each step from step `begin` on, epoch after epoch, without end."""
    return islice(_steps(lessons, shape_, seed), begin, None)


def _steps(lessons: "Lessons", shape_: Shape, seed: int) -> Iterator[list[Block]]:
    """Each step has about as many tokens as the shape says: blocks are of different sizes, and none is left out."""
    waiting: list[Block] = []
    owed = float(shape_.tokens_per_step)
    for block in _blocks(lessons, shape_, seed):
        if waiting and owed < block.tokens / 2:
            yield waiting
            waiting, owed = [], owed + shape_.tokens_per_step
        waiting.append(block)
        owed -= block.tokens


def _blocks(lessons: "Lessons", shape_: Shape, seed: int) -> Iterator[Block]:
    """Without end. Of several streams the next block is of the one that lacks most of its share of the tokens.

    Their blocks are smaller, by their share, so that a step reads all of them.
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
    """The blocks of a stream, epoch after epoch, without end. What is replayed stays about in its order."""
    items, epoch = stream.items, 0
    at_once = pack.AMONG if stream.teacher else len(items)
    while True:
        for begin in range(items.start, items.stop, at_once):
            some = range(begin, min(begin + at_once, items.stop))
            order = epoch_seed(f"{seed} {begin}" if begin else seed, epoch)
            yield from pack.pack(lessons.items, tokens, order, together=lessons.together, only=some)
        epoch += 1
