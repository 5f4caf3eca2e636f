"""The model in memory with the adapter that is taught: asked, made into anchors, trained and asked again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from assistant.engine.engine import default_threads
from assistant.paths import Paths
from finetune import adapters, forgetting, pack
from finetune.both import Sums, sums_of
from finetune.config import TrainConfig
from finetune.distill import softened
from finetune.greedy import continuations
from finetune.model import Base, Trainee, device_of, precision_of
from finetune.plan import BLOCK_TOKENS
from finetune.run_folder import lower_priority
from finetune.teach import frames, material
from finetune.teach.corrections import Correction
from finetune.teach.lesson import Lesson
from finetune.tokens import Row
from prompts.message import Message

REPLY_TOKENS = 40
"""Of a reply that is compared, and of an anchor."""
MORE_TOKENS = 8
"""Than the longest correction has, in replies to their questions."""
GENERAL_TOKENS = 4096
EARLIER_ASKED = 8
"""Corrections of before that are asked again."""

Prompt = Sequence[Message]


@dataclass(frozen=True, slots=True)
class Look:
    """What the model says at one moment. `asked[i]`: to correction i as it was asked, then in other words."""

    asked: list[list[str]]
    earlier: list[str]
    others: list[str]
    general: Sums


@dataclass
class Session:
    """A model on its device, in the format of the chat."""

    base: Base
    model: Any
    device: torch.device

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
        folder = paths.adapters / lesson.start.name if lesson.start else None
        return cls(lesson.base, adapters.prepare(model, config, 1, lesson.model, start=folder), device)

    @cached_property
    def trainee(self) -> Trainee:
        return Trainee(self.model)

    def look(self, lesson: Lesson, others: Sequence[Prompt]) -> Look:
        """Ask everything: the corrections, those of before, other questions, and general text."""
        earlier = lesson.old[:EARLIER_ASKED]
        asked = [prompt for one in lesson.new for prompt in prompts_of(one)]
        longest = max(len(self.base.chat_format.encode_following(one.text)) for one in [*lesson.new, *earlier])
        said = self._replies([*asked, *(one.prompt for one in earlier)], longest + MORE_TOKENS)
        each = len(prompts_of(lesson.new[0]))
        by_correction = [said[at : at + each] for at in range(0, len(asked), each)]
        return Look(by_correction, said[len(asked) :], self._replies(others, REPLY_TOKENS), self._general_sums())

    def anchors(self, prompts: Sequence[Prompt], pieces: int, seed: int) -> list[Row]:
        """Rows whose targets are what the model says now: its replies to the prompts, and pieces of general text."""
        rows = []
        for prompt, reply in zip(prompts, self._reply_ids(prompts, REPLY_TOKENS), strict=True):
            ids = [*self.base.chat_format.encode(prompt), *reply]
            rows.append(Row.of(ids, [(1, len(ids))]))
        items = [[one] for one in [*rows, *material.general_text(self.base, pieces, seed)]]
        blocks = pack.pack(items, BLOCK_TOKENS, "anchors")
        return [row for (row,) in softened(self.trainee, items, blocks, 2 * BLOCK_TOKENS, self.device)]

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

    def _replies(self, prompts: Sequence[Prompt], tokens: int) -> list[str]:
        ids = self._reply_ids(prompts, tokens)
        return [str(self.base.tokenizer.decode(one, skip_special_tokens=True)).strip() for one in ids]

    def _reply_ids(self, prompts: Sequence[Prompt], tokens: int) -> list[list[int]]:
        """Greedy, without the token that ends a reply."""
        room = max(1, self.base.context_tokens - tokens)
        self.model.eval()
        encoded = [self.base.chat_format.encode(prompt)[-room:] for prompt in prompts]
        return continuations(self.model, encoded, tokens, self._ends) if encoded else []

    @cached_property
    def _ends(self) -> frozenset[int]:
        end = self.base.tokenizer.eos_token_id
        return self.base.chat_format.end_ids | (frozenset() if end is None else {end})


def prompts_of(one: Correction) -> list[list[Message]]:
    """The question as it was asked, then in words that training doesn't see."""
    forms = [one.question, *frames.asked(one.question)]
    return [[*one.prompt[:-1], Message("user", form)] for form in forms]
