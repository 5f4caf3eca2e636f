"""The KV cache of the last conversation: a new turn computes only what follows the longest common prefix."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
from transformers import DynamicCache


class PrefixCache:
    """Keys and values (`layers`) of the tokens in `ids`, of one sequence."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self.clear()

    def clear(self) -> None:
        """Forget everything, as after a failed forward pass, which may have left layers of different lengths."""
        self.ids: list[int] = []
        self.layers = DynamicCache(config=self._config)

    def keep_prefix(self, prompt: Sequence[int]) -> int:
        """Keep what `prompt` begins with, throw away the rest; how many tokens need no computing.

        The last token of the prompt is always computed: its logits are the first to be sampled from.
        """
        pairs = zip(self.ids, prompt[:-1], strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        surplus = len(self.ids) - shared
        if surplus and not self._crop(surplus):
            self.clear()
            return 0
        del self.ids[shared:]
        return shared

    def _crop(self, tokens: int) -> bool:
        """Drop the last `tokens`. False where the state of a layer can't be turned back."""
        if not self.layers.is_croppable:  # such as Mamba's
            return False
        try:
            self.layers.crop(-tokens)
        except RuntimeError:  # a sliding window that has moved on
            return False
        return True


def as_input(ids: Sequence[int], device: torch.device) -> torch.Tensor:
    """One sequence (1, T) of ids for a forward pass."""
    return torch.tensor([ids], device=device)
