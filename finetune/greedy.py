"""Whether another form of a model says what the model says: token by token, along the model's own greedy replies."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from assistant.engine.chat_format import ChatFormat
from finetune.example import Example

PROMPTS, REPLY_TOKENS = 16, 32
"""How much is compared."""
ROUNDING_NATS = 0.25
"""How much less likely than its own choice, for the model, another form's choice may be where rounding to 16 bits
explains it: bfloat16 made 0.07 of the default model, and unmerged weights 7 of a tiny one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A prompt and the model's greedy reply. `logprobs[i]` (vocabulary): of the place of the reply's token i."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: torch.Tensor


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a form of the model compares. `margin_nats`: the model's log-probability of its own choice over the other's,
    at the worst place."""

    prompts: int
    tokens: int
    equal_tokens: int
    equal_replies: int
    margin_nats: float

    @property
    def explained(self) -> bool:
        """Whether rounding to 16 bits explains every difference."""
        return self.margin_nats <= ROUNDING_NATS

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "explained": self.explained}


@dataclass(frozen=True)
class InTransformers:
    """A model of transformers, with or without PEFT around it."""

    model: Any

    def replies(self, prompts: Sequence[Sequence[int]], ends: frozenset[int]) -> list[Reply]:
        """Greedy replies, up to the token that ends them or `REPLY_TOKENS`."""
        return [self._reply(list(prompt), ends) for prompt in prompts]

    def choices(self, replies: Sequence[Reply]) -> list[list[int]]:
        """For each place of each reply the token it finds likeliest there."""
        return [self._logits([*one.prompt, *one.ids], len(one.ids)).argmax(-1).tolist() for one in replies]

    def _reply(self, prompt: list[int], ends: frozenset[int]) -> Reply:
        reply = self._uncached(prompt, ends) if self._has_virtual_tokens else self._generated(prompt, ends)
        logprobs = self._logits([*prompt, *reply], len(reply)).log_softmax(-1)
        return Reply(tuple(prompt), tuple(reply), logprobs)

    @property
    def _has_virtual_tokens(self) -> bool:
        """Whether PEFT puts tokens of the adapter before the prompt: its generation leaves some of them out where
        transformers' argument for the cache is called `cache`."""
        return hasattr(self.model, "peft_config") and bool(self.model.active_peft_config.is_prompt_learning)

    def _generated(self, prompt: list[int], ends: frozenset[int]) -> list[int]:
        ids = torch.tensor([prompt], device=self.model.device)
        with torch.inference_mode():
            found = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=REPLY_TOKENS,
                do_sample=False,
                eos_token_id=sorted(ends) or None,
                pad_token_id=0,
            )
        return list(found[0, len(prompt) :].tolist())

    def _uncached(self, prompt: list[int], ends: frozenset[int]) -> list[int]:
        reply: list[int] = []
        while len(reply) < REPLY_TOKENS and not ends.intersection(reply[-1:]):
            reply.append(int(self._logits([*prompt, *reply], 0).argmax(-1)[0]))
        return reply

    def _logits(self, ids: list[int], last: int) -> torch.Tensor:
        """(last, vocabulary), float32, on the CPU: of the places before each of the last tokens; with 0 (1,
        vocabulary): of the place after them all."""
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of transformers, about what PEFT asks it
            logits: torch.Tensor = self.model(input_ids=torch.tensor([ids], device=self.model.device)).logits[0]
        return (logits[-last - 1 : -1] if last else logits[-1:]).float().cpu()


def compare(replies: Sequence[Reply], choices: Sequence[Sequence[int]]) -> Agreement:
    """How far the choices of another form, for each place of each reply, are the model's."""
    tokens = equal = whole = 0
    margin = 0.0
    for reply, chosen in zip(replies, choices, strict=True):
        own = reply.logprobs.argmax(-1).tolist()
        same = [one == other for one, other in zip(own, chosen, strict=True)]
        tokens, equal, whole = tokens + len(same), equal + sum(same), whole + all(same)
        gaps = [reply.logprobs[at, own[at]] - reply.logprobs[at, chosen[at]] for at, one in enumerate(same) if not one]
        margin = max([margin, *map(float, gaps)])
    return Agreement(len(replies), tokens, equal, whole, margin)


def prompts(form: ChatFormat, examples: Sequence[Example], limit: int) -> list[list[int]]:
    """What comes before the last reply of some examples, where that leaves room for a reply in `limit` tokens."""
    found = (form.encode(one.messages[:-1]) for one in examples if len(one.messages) > 1)
    return [ids for ids in found if len(ids) + REPLY_TOKENS <= limit][:PROMPTS]
