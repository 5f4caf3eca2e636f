"""Logits -> the next token, by the field's usual steps in their usual order.

First what may be said at all (constraint, `logit_bias`), then penalties for what was said, then temperature, top-k,
top-p and min-p: the order of transformers. In numpy: of 49,152 logits torch's argmax takes 90 µs, numpy's 4,
and a small model needs 6,000 for a token. A seed means the same on every device.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.engine.generate.sampling import Sampling
from assistant.errors import ModelBroken

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

GREEDY_BELOW = 1e-4
"""A temperature that is as good as 0; to divide by it would overflow."""
BLOCK = 64


class Constraint(Protocol):
    """What may be said next."""

    def allowed(self, vocabulary: int) -> NDArray[np.bool_]:
        """For each token (V,) whether it may be next."""

    def accept(self, token: int) -> None:
        """It was said."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token, its log-probability, and the likeliest ones with theirs: those of the model itself, whatever was done
    to the logits to choose."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class TokenChoice:
    """Chooses the tokens of one reply. Same seed, same choices."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], constraint: Constraint | None = None) -> None:
        self.seed = sampling.seed if sampling.seed is not None else secrets.randbits(32)
        self._sampling = sampling
        self._random = np.random.default_rng(self.seed)
        self._constraint = constraint
        self._seen = dict.fromkeys(prompt)
        self._said: Counter[int] = Counter()
        self._bias_ids = np.array([token for token, _ in sampling.logit_bias], dtype=np.intp)
        self._bias = np.array([bias for _, bias in sampling.logit_bias], dtype=np.float32)
        self._changes_logits = bool(
            constraint
            or sampling.logit_bias
            or sampling.repetition_penalty != 1
            or sampling.presence_penalty
            or sampling.frequency_penalty
        )

    @property
    def plain_greedy(self) -> bool:
        """Whether what is chosen is just the token with the highest of the model's own logits."""
        return self._sampling.temperature < GREEDY_BELOW and not self._changes_logits

    def choose(self, logits: "Tensor") -> Chosen:
        """From logits (V,). Raises `ModelBroken` where they are no numbers."""
        raw: Floats = logits.float().cpu().numpy()
        most = float(raw.max())
        if not np.isfinite(most):  # NaN if any of them is
            raise ModelBroken(
                f"The model computed {most} where numbers are wanted: its weights or adapter are damaged, or too large "
                "for this precision. Get them again, or set engine.dtype to float32."
            )
        token = self._token(self._changed(raw) if self._changes_logits else raw)
        below = most + float(np.log(np.exp(raw - np.float32(most)).sum()))
        top = tuple((int(index), float(raw[index]) - below) for index in _likeliest(raw, self._sampling.top_logprobs))
        self._seen[token] = None
        self._said[token] += 1
        if self._constraint is not None:
            self._constraint.accept(token)
        return Chosen(token, float(raw[token]) - below, top)

    def _changed(self, raw: Floats) -> Floats:
        """Logits (V,) with what is asked for done to them."""
        sampling, logits = self._sampling, raw.copy()
        if len(self._bias_ids):
            known = self._bias_ids < len(logits)
            logits[self._bias_ids[known]] += self._bias[known]
        if sampling.repetition_penalty != 1:
            seen = np.fromiter(self._seen, np.intp, len(self._seen))
            logits[seen] = repeated_less(logits[seen], sampling.repetition_penalty)
        if self._said and (sampling.presence_penalty or sampling.frequency_penalty):
            said = np.fromiter(self._said.keys(), np.intp, len(self._said))
            counts = np.fromiter(self._said.values(), np.float32, len(self._said))
            logits[said] -= np.float32(sampling.presence_penalty) + np.float32(sampling.frequency_penalty) * counts
        if self._constraint is not None:
            logits[~self._constraint.allowed(len(logits))] = -np.inf
        return logits

    def _token(self, logits: Floats) -> int:
        sampling = self._sampling
        if sampling.temperature < GREEDY_BELOW:
            return int(logits.argmax())
        ids = _likeliest(logits, sampling.top_k or len(logits))
        scaled = logits[ids].astype(np.float64) / sampling.temperature
        probabilities = np.exp(scaled - scaled[0])
        probabilities /= probabilities.sum()
        if sampling.top_p < 1:
            probabilities = top_p(probabilities, sampling.top_p)
        if sampling.min_p > 0:
            probabilities = probabilities[probabilities >= sampling.min_p * probabilities[0]]
        drawn = self._random.random() * probabilities.sum()
        place = np.searchsorted(probabilities.cumsum(), drawn, side="right")
        return int(ids[min(int(place), len(probabilities) - 1)])


def _likeliest(logits: Floats, count: int) -> Indices:
    """Ids of the `count` highest logits, highest first, of equal ones the first.

    The lowest of the `count` highest maxima of blocks is no higher than what is looked for, so few are left to sort.
    """
    blocks = len(logits) // BLOCK
    if count < 1:
        return np.empty(0, np.intp)
    if count >= blocks:
        return np.argsort(-logits, kind="stable")[:count]
    maxima = logits[: blocks * BLOCK].reshape(blocks, BLOCK).max(1)
    found = np.flatnonzero(logits >= np.partition(maxima, blocks - count)[blocks - count])
    return found[np.argsort(-logits[found], kind="stable")[:count]]


def repeated_less(logits: Floats, penalty: float) -> Floats:
    """Logits of tokens seen before divided, or multiplied where negative (CTRL, arXiv:1909.05858)."""
    return np.where(logits < 0, logits * np.float32(penalty), logits / np.float32(penalty))


def top_p(probabilities: NDArray[Any], share: float) -> NDArray[Any]:
    """The fewest of `probabilities`, which are sorted, that reach `share` together; at least one."""
    before = probabilities.cumsum() - probabilities
    return probabilities[: max(1, int((before < share).sum()))]
