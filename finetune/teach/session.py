"""The model in memory with the adapter that is taught: asked, made into anchors, trained and asked again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
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

REPLY_TOKENS = 32
"""Of a reply that is compared."""
HELD_TOKENS = 12
"""Of a reply that is held: how it begins decides how it goes on."""
MORE_TOKENS = 8
"""Than the longest correction has, in replies to their questions."""
LIKELIEST = 64
"""Tokens of a distribution that is held."""
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

    def held(self, prompts: Sequence[Prompt]) -> list[Row]:
        """The beginnings of the replies to the prompts, with what the model says now for targets."""
        rows = []
        for prompt, reply in zip(prompts, self._reply_ids(prompts, HELD_TOKENS, ends=True), strict=True):
            ids = self.base.chat_format.encode(prompt)
            rows.append(Row.of([*ids, *reply], [(len(ids), len(ids) + len(reply))]))
        return self._softened(rows)

    def text(self, pieces: int, seed: int) -> list[Row]:
        """Pieces of general text, with what the model says now for targets."""
        return self._softened(material.general_text(self.base, pieces, seed))

    def _targets(self, items: Sequence[Sequence[Row]], blocks: Iterable[pack.Block]) -> list[list[Row]]:
        return softened(self.trainee, items, blocks, 2 * BLOCK_TOKENS, self.device, count=LIKELIEST)

    def _softened(self, rows: Sequence[Row]) -> list[Row]:
        items = [[one] for one in rows]
        blocks = pack.pack(items, BLOCK_TOKENS, "anchors")
        return [row for (row,) in self._targets(items, blocks)]

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

    def _reply_ids(self, prompts: Sequence[Prompt], tokens: int, *, ends: bool = False) -> list[list[int]]:
        """Greedy. `ends`: with the token that ends a reply, where it came."""
        room = max(1, self.base.context_tokens - tokens)
        self.model.eval()
        encoded = [self.base.chat_format.encode(prompt)[-room:] for prompt in prompts]
        found = continuations(self.model, encoded, tokens, self._ends) if encoded else []
        return found if ends else [list(takewhile(lambda one: one not in self._ends, ids)) for ids in found]

    @cached_property
    def _ends(self) -> frozenset[int]:
        end = self.base.tokenizer.eos_token_id
        return self.base.chat_format.end_ids | (frozenset() if end is None else {end})


def prompts_of(one: Correction) -> list[list[Message]]:
    """The question as it was asked, then in words that training doesn't see."""
    forms = [one.question, *frames.asked(one.question)]
    return [[*one.prompt[:-1], Message("user", form)] for form in forms]
