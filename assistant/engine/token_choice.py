"""Logits -> the next token, by the field's usual steps in their usual order."""

import secrets

import torch
from torch import Tensor

from assistant.engine.sampling import Sampling

GREEDY_BELOW = 1e-4
"""A temperature that is as good as 0; to divide by it would overflow."""


class TokenChoice:
    """Chooses tokens for one reply. Same seed, same choices."""

    def __init__(self, sampling: Sampling, prompt: list[int], device: torch.device) -> None:
        self.seed = sampling.seed if sampling.seed is not None else secrets.randbits(32)
        self._sampling = sampling
        self._random = torch.Generator(device).manual_seed(self.seed)
        self._seen = set(prompt)

    def choose(self, logits: Tensor) -> tuple[int, float]:
        """(token, its log-probability before anything here was done to the logits) from logits (V,)."""
        logits = logits.float()
        token = self._choose(logits)
        logprob = float(logits[token] - logits.logsumexp(0))
        self._seen.add(token)
        return token, logprob

    def _choose(self, logits: Tensor) -> int:
        sampling = self._sampling
        if sampling.repetition_penalty != 1:
            seen = torch.tensor(list(self._seen), device=logits.device)
            logits = repeated_less(logits, seen, sampling.repetition_penalty)
        if sampling.temperature < GREEDY_BELOW:
            return int(logits.argmax())
        values, ids = _likeliest(logits / sampling.temperature, sampling.top_k)
        probabilities = values.softmax(0)
        if sampling.top_p < 1:
            probabilities = top_p(probabilities, sampling.top_p)
        if sampling.min_p > 0:
            probabilities = probabilities[probabilities >= sampling.min_p * probabilities[0]]
        return int(ids[torch.multinomial(probabilities, 1, generator=self._random)])


def _likeliest(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest logits, highest first, and their ids; all of them for 0.

    Sorting a vocabulary of 49,152 whole takes 5 ms, a tenth of what a small model needs for a token.
    """
    if 0 < count < logits.shape[0]:
        return torch.topk(logits, count)
    return torch.sort(logits, descending=True, stable=True)


def repeated_less(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits (V,) with those of the `seen` ids divided, or multiplied where negative (CTRL, arXiv:1909.05858)."""
    changed = logits[seen]
    return logits.scatter(0, seen, torch.where(changed < 0, changed * penalty, changed / penalty))


def top_p(probabilities: Tensor, share: float) -> Tensor:
    """The fewest of `probabilities`, which are sorted, that reach `share` together; at least one."""
    before = probabilities.cumsum(0) - probabilities
    return probabilities[: max(1, int((before < share).sum()))]
