"""How the next token is chosen. Importing this imports no torch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistant.errors import AssistantError


class SamplingError(AssistantError):
    """A sampling value is out of its range, of the wrong kind, or has an unknown name."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a person can set about the choice of tokens. Names and ranges are the field's common ones."""

    temperature: float = 0.7
    """0 is greedy; higher is more surprising. 0..5."""
    top_p: float = 0.9
    """Keep the most likely tokens that together have this probability. 0..1, 1 is off."""
    top_k: int = 40
    """Keep the k most likely tokens. 0 is off."""
    min_p: float = 0.0
    """Drop tokens less likely than this share of the likeliest one. 0..1, 0 is off."""
    repetition_penalty: float = 1.0
    """Divide (multiply, where negative) the logits of tokens seen already. 0.1..10, 1 is off."""
    max_tokens: int = 1024
    """Longest reply, in tokens. At least 1."""
    seed: int | None = None
    """Same seed, same text on the same machine. None: a new one for each reply. 0..2^63-1."""
    stop: tuple[str, ...] = ()
    """The reply ends before any of these texts."""
    presence_penalty: float = 0.0
    """Taken from the logits of tokens said already in this reply. -2..2, 0 is off."""
    frequency_penalty: float = 0.0
    """Taken from the logits of tokens once for each time that they were said in this reply. -2..2, 0 is off."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Added to the logits of these tokens, (id, bias) each. -100..100; -100 is as good as never, 100 as always."""
    top_logprobs: int = 0
    """How many of the likeliest tokens to tell of at each position. 0..20."""
    json_schema: str = ""
    """JSON of a JSON Schema that the reply must follow; `{}` for any JSON value, empty for any text."""

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, float, 0, 5)
        _check("top_p", self.top_p, float, 0, 1)
        _check("top_k", self.top_k, int, 0, 10_000_000)
        _check("min_p", self.min_p, float, 0, 1)
        _check("repetition_penalty", self.repetition_penalty, float, 0.1, 10)
        _check("presence_penalty", self.presence_penalty, float, -2, 2)
        _check("frequency_penalty", self.frequency_penalty, float, -2, 2)
        _check("top_logprobs", self.top_logprobs, int, 0, 20)
        for token, bias in self.logit_bias:
            _check("logit_bias (token id)", token, int, 0, 2**31)
            _check("logit_bias", bias, float, -100, 100)
        _check("max_tokens", self.max_tokens, int, 1, 10_000_000)
        if self.seed is not None:
            _check("seed", self.seed, int, 0, 2**63 - 1)
        if not isinstance(self.stop, tuple) or not all(isinstance(s, str) and s for s in self.stop):
            raise SamplingError(f"stop is {self.stop!r}, but must be a list of texts, none of them empty.")

    def replace(self, values: Mapping[str, Any]) -> "Sampling":
        """A copy with `values` put in. Raises `SamplingError` for unknown names and bad values."""
        known = [f.name for f in dataclasses.fields(self)]
        for name in values:
            if name not in known:
                raise SamplingError(f"Unknown sampling setting {name!r}. Known: {', '.join(known)}.")
        changes = dict(values)
        if isinstance(changes.get("stop"), list):
            changes["stop"] = tuple(changes["stop"])
        if isinstance(changes.get("logit_bias"), list):
            changes["logit_bias"] = tuple((token, bias) for token, bias in changes["logit_bias"])
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, as stored with each reply."""
        return {
            **dataclasses.asdict(self),
            "stop": list(self.stop),
            "logit_bias": [list(one) for one in self.logit_bias],
        }


def _check(name: str, value: object, kind: type, low: float, high: float) -> None:
    right_kind = isinstance(value, int | float) if kind is float else isinstance(value, int)
    if not right_kind or isinstance(value, bool) or not low <= value <= high:  # type: ignore[operator]
        number = "a whole number" if kind is int else "a number"
        raise SamplingError(f"{name} is {value!r}, but must be {number} from {low:g} to {high:g}.")
