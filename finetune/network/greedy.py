"""Compare two forms of a model, such as merged and unmerged, along the model's own greedy replies."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from peft import PeftModel

from assistant.engine.generate.chat_format import ChatFormat
from finetune.data.example import Example

PROMPTS, REPLY_TOKENS = 16, 32
"""Number of prompts, and tokens of each reply, that are compared."""
ROUNDING_NATS = 0.25
"""Largest loss of log-probability, under the model, of another form's choice that rounding to 16 bits explains:
bfloat16 gave 0.07 with the default model, and unmerged weights 7 with a tiny one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A prompt and the model's greedy reply. `logprobs[i]` (V,): at the position of the reply's token i."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: torch.Tensor


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of another form with the model. `margin_nats`: the largest difference of the model's log-probability
    between its own choice and the other form's."""

    prompts: int
    tokens: int
    equal_tokens: int
    equal_replies: int
    margin_nats: float

    @property
    def explained(self) -> bool:
        """Whether rounding to 16 bits explains all differences."""
        return self.margin_nats <= ROUNDING_NATS

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        return {**asdict(self), "explained": self.explained}


@dataclass(frozen=True)
class InTransformers:
    """A transformers or PEFT model."""

    model: Any

    def replies(self, prompts: Sequence[Sequence[int]], ends: frozenset[int]) -> list[Reply]:
        """Greedy replies, up to an end token or `REPLY_TOKENS`."""
        return [self._reply(list(prompt), ends) for prompt in prompts]

    def choices(self, replies: Sequence[Reply]) -> list[list[int]]:
        """Greedy token at each position of each reply."""
        return [self._logits([*one.prompt, *one.ids], len(one.ids)).argmax(-1).tolist() for one in replies]

    def _reply(self, prompt: list[int], ends: frozenset[int]) -> Reply:
        reply = continuation(self.model, prompt, REPLY_TOKENS, ends)
        logprobs = self._logits([*prompt, *reply], len(reply)).log_softmax(-1)
        return Reply(tuple(prompt), tuple(reply), logprobs)

    def _logits(self, ids: list[int], last: int) -> torch.Tensor:
        """(last, V) float32 on the CPU: the logits that predict the last tokens."""
        return _logits(self.model, ids)[-last - 1 : -1].float().cpu()


def continuation(model: Any, ids: Sequence[int], tokens: int, ends: frozenset[int]) -> list[int]:
    """Greedy continuation of `ids` by a transformers or PEFT model: at most `tokens` tokens, ending with a token of
    `ends`.
    """
    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        return _uncached(model, ids, tokens, ends)
    prompt = torch.tensor([list(ids)], device=model.device)
    asked = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "pad_token_id": 0}
    with torch.inference_mode():
        found = model.generate(input_ids=prompt, max_new_tokens=tokens, eos_token_id=sorted(ends) or None, **asked)
    return list(found[0, len(ids) :].tolist())


def _uncached(model: Any, ids: Sequence[int], tokens: int, ends: frozenset[int]) -> list[int]:
    """As `continuation`, without a KV cache: PEFT's generation drops virtual tokens where transformers names the cache
    argument `cache`.
    """
    found: list[int] = []
    while len(found) < tokens and not ends.intersection(found[-1:]):
        found.append(int(_logits(model, [*ids, *found])[-1].argmax()))
    return found


def _logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Logits (length, V); with virtual tokens of the adapter, longer."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' warnings about PEFT's use of it
        logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device)).logits[0]
    return logits


def compare(replies: Sequence[Reply], choices: Sequence[Sequence[int]]) -> Agreement:
    """Compare another form's choices, at each position of each reply, with the model's."""
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
    """Prompts of the last replies of some examples that leave room for a reply in `limit` tokens."""
    found = (form.encode(one.before(len(one.messages) - 1)) for one in examples if len(one.messages) > 1)
    return [ids for ids in found if len(ids) + REPLY_TOKENS <= limit][:PROMPTS]
