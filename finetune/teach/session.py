"""The model in memory twice: in training, with the adapter that is taught, and as the chat runs it, to be asked."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from assistant.engine.engine import Engine, default_threads
from assistant.paths import Paths
from finetune.base import Base
from finetune.config import TrainConfig
from finetune.data import forgetting, pack
from finetune.data.tokens import Row
from finetune.lineage.distill import softened
from finetune.network import trainable
from finetune.network.both import Sums, sums_of
from finetune.network.trainee import Trainee, device_of, precision_of
from finetune.plan import BLOCK_TOKENS
from finetune.run_folder import lower_priority
from finetune.teach import frames, material
from finetune.teach.asking import Prompt, replies
from finetune.teach.corrections import Correction
from finetune.teach.lesson import Lesson
from finetune.teach.material import Anchor
from prompts.message import Message

REPLY_TOKENS = 24
"""Of a reply that is compared."""
HELD_TOKENS = 12
"""Of a reply that is held: how it begins decides how it goes on."""
MORE_TOKENS = 8
"""Than the longest correction has, in replies to their questions."""
GENERAL_TOKENS = 4096
EARLIER_ASKED = 8
"""Corrections of before that are asked again."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the model says at one moment. `asked[i]`: to correction i as it was asked, then in other words."""

    asked: list[list[str]]
    earlier: list[str]
    others: list[str]
    general: Sums


@dataclass
class Session:
    """A model on its device, and the engine that chats."""

    base: Base
    model: Any
    device: torch.device
    start: Path | None
    """Folder of the adapter that training begins with; None: a new one."""
    like_base: bool = True
    """Whether everything else is held as the base says it."""

    @classmethod
    def load(cls, lesson: Lesson, paths: Paths, config: TrainConfig) -> "Session":
        """With the adapter that the lesson goes on from, or a new one. Raises `TrainingRefused`."""
        import transformers

        device = device_of()
        if device.type == "cpu":
            torch.set_num_threads(default_threads())
            lower_priority()
        transformers.logging.set_verbosity_error()
        torch.manual_seed(config.seed)  # what a new adapter begins with
        model = lesson.base.load(precision_of(config.precision, device), device)
        start = paths.adapters / lesson.start.adapter if lesson.start else None
        model = trainable.prepare(model, config, 1, lesson.model, start=start)
        return cls(lesson.base, model, device, start, lesson.like_base)

    @cached_property
    def trainee(self) -> Trainee:
        """The model in training."""
        return Trainee(self.model)

    @cached_property
    def engine(self) -> Engine:
        """The same model as the chat runs it."""
        return Engine.load(self.base.folder)

    def look(self, lesson: Lesson, others: Sequence[Prompt], adapter: Path | None) -> Look:
        """Ask everything with an adapter, or the base alone: corrections, those of before, other questions. General
        text is read by the model in training as it is.
        """
        earlier = lesson.old[:EARLIER_ASKED]
        asked = [prompt for one in lesson.new for prompt in prompts_of(one)]
        longest = max(len(self.base.chat_format.encode_following(one.text)) for one in [*lesson.new, *earlier])
        said = self._texts([*asked, *(one.prompt for one in earlier)], longest + MORE_TOKENS, adapter)
        each = len(prompts_of(lesson.new[0]))
        by_correction = [said[at : at + each] for at in range(0, len(asked), each)]
        return Look(by_correction, said[len(asked) :], self._texts(others, REPLY_TOKENS, adapter), self._general_sums())

    def _texts(self, prompts: Sequence[Prompt], tokens: int, adapter: Path | None) -> list[str]:
        return [one.text.strip() for one in replies(self.engine, prompts, tokens, adapter)]

    def held(self, prompts: Sequence[Prompt]) -> list[Anchor]:
        """The beginnings of the replies to the prompts, with distributions for targets."""
        rows, end = [], self.base.tokenizer_of_rows().end
        teacher = None if self.like_base else self.start
        for prompt, said in zip(prompts, replies(self.engine, prompts, HELD_TOKENS, teacher), strict=True):
            ids = self.base.chat_format.encode(prompt)
            ended = said.finished is not None and said.finished.reason == "stop"
            reply = [*said.token_ids, *([end] if ended else [])]
            rows.append(Row.of([*ids, *reply], [(len(ids), len(ids) + len(reply))]))
        return self._anchors(rows)

    def text(self, pieces: int, seed: int) -> list[Anchor]:
        """Pieces of general text, with distributions for targets."""
        return self._anchors(material.general_text(self.base, pieces, seed))

    def _anchors(self, rows: Sequence[Row]) -> list[Anchor]:
        self.trainee.eval()
        items = [[one] for one in rows if one.supervised]
        blocks = pack.pack(items, BLOCK_TOKENS, "held")
        with self.trainee.base() if self.like_base else nullcontext():
            made = softened(self.trainee, items, blocks, 2 * BLOCK_TOKENS, self.device, whole=True)
            sums = sums_of(self.trainee, made, self.device)
        return [Anchor(row, -sum_) for (row,), (sum_,) in zip(made, sums, strict=True)]

    @property
    def general_tokens(self) -> list[int]:
        """Of each row of general text."""
        return [row.supervised for (row,) in self._general]

    @cached_property
    def _general(self) -> list[list[Row]]:
        rows = forgetting.rows(self.base.chat_format, self.base.context_tokens)
        return rows[: max(1, GENERAL_TOKENS // forgetting.ROW_TOKENS)]

    def _general_sums(self) -> Sums:
        self.trainee.eval()
        return sums_of(self.trainee, self._general, self.device)


def prompts_of(one: Correction) -> list[list[Message]]:
    """The question as it was asked, then in words that training doesn't see."""
    forms = [one.question, *frames.asked(one.question)]
    return [[*one.prompt[:-1], Message("user", form)] for form in forms]
