"""Whether another form of a model says what the model says: token by token, along the model's own greedy replies."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from peft import PeftModel

from assistant.engine.generate.chat_format import ChatFormat
from finetune.data.example import Example

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
        reply = continuation(self.model, prompt, REPLY_TOKENS, ends)
        logprobs = self._logits([*prompt, *reply], len(reply)).log_softmax(-1)
        return Reply(tuple(prompt), tuple(reply), logprobs)

    def _logits(self, ids: list[int], last: int) -> torch.Tensor:
        """(last, vocabulary), float32, on the CPU: of the places before each of the last tokens."""
        return _logits(self.model, ids)[-last - 1 : -1].float().cpu()


def continuation(model: Any, ids: Sequence[int], tokens: int, ends: frozenset[int]) -> list[int]:
    """What a model of transformers, with or without PEFT around it, greedily writes after `ids`: at most so many
    tokens, and none after one of `ends`.
    """
    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        return _uncached(model, ids, tokens, ends)
    prompt = torch.tensor([list(ids)], device=model.device)
    asked = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "pad_token_id": 0}
    with torch.inference_mode():
        found = model.generate(input_ids=prompt, max_new_tokens=tokens, eos_token_id=sorted(ends) or None, **asked)
    return list(found[0, len(ids) :].tolist())


def _uncached(model: Any, ids: Sequence[int], tokens: int, ends: frozenset[int]) -> list[int]:
    """As `continuation`, by whole forward passes: PEFT's generation loses the adapter's tokens before the prompt where
    transformers calls its argument for the KV cache `cache`.
    """
    found: list[int] = []
    while len(found) < tokens and not ends.intersection(found[-1:]):
        found.append(int(_logits(model, [*ids, *found])[-1].argmax()))
    return found


def _logits(model: Any, ids: list[int]) -> torch.Tensor:
    """(length, vocabulary); with tokens of the adapter before them, longer."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers, about what PEFT asks it
        logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device)).logits[0]
    return logits


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
    found = (form.encode(one.before(len(one.messages) - 1)) for one in examples if len(one.messages) > 1)
    return [ids for ids in found if len(ids) + REPLY_TOKENS <= limit][:PROMPTS]
