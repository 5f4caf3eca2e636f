"""transformers' static cache for one sequence: keys and values stay where they are, as a CUDA graph needs them to.

Used on a GPU, where the decode step of an architecture that allows it is one graph. Attention looks at the whole cache
and masks what isn't there yet, which on a CPU costs more than a cache that grows.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import StaticCache
from transformers.cache_utils import StaticLayer

from assistant.engine.generate.cache import room
from assistant.engine.networks.cuda_graph import captured


def possible(model: Any) -> bool:
    """Whether a model's cache can be static: its layers see all positions, and its forward pass takes no branches."""
    layers = StaticCache(config=model.config, max_cache_len=1).layers
    return bool(model._can_compile_fullgraph) and all(type(layer) is StaticLayer for layer in layers)


class StaticKV:
    """Keys and values, in memory that is doubled when it is full, and the decode step that was captured with it."""

    def __init__(self, config: Any, length: int = 0) -> None:
        self._config = config
        self.layers = self._empty(length)
        self._step: Callable[[], None] | None = None

    def _empty(self, length: int) -> StaticCache:
        return StaticCache(config=self._config, max_cache_len=room(length))

    @property
    def token_bytes(self) -> int:
        return sum(
            layer.keys[0, :, 0].nbytes + layer.values[0, :, 0].nbytes
            for layer in self.layers.layers
            if layer.is_initialized
        )

    def crop(self, length: int) -> bool:
        for layer in self.layers.layers:
            if layer.is_initialized:
                layer.cumulative_length.fill_(length)  # in place: a graph adds to it
        return True

    def copy(self, length: int) -> "StaticKV":
        made = StaticKV(self._config, length)
        self._fill(made.layers, length)
        return made

    def grow(self, length: int, used: int) -> None:
        """Make room for `length` tokens; the first `used` stay."""
        if length > self.layers.layers[0].max_cache_len:
            larger = self._empty(length)
            self._fill(larger, used)
            self.layers, self._step = larger, None

    def _fill(self, cache: StaticCache, length: int) -> None:
        for mine, theirs in zip(self.layers.layers, cache.layers, strict=True):
            if mine.is_initialized:
                theirs.update(mine.keys[:, :, :length], mine.values[:, :, :length])

    def step(self, forward: Callable[[Tensor], Tensor], token: int, used: int) -> Tensor:
        """Logits (1, V) after `token`, which follows the `used` tokens: `forward` (1, 1) -> (1, V), as a graph.

        Raises `RuntimeError` where the forward pass can't be captured; the cache is what it was then.
        """
        if self._step is None:
            device = self.layers.layers[0].keys.device
            self._ids = torch.full((1, 1), token, device=device)

            def run() -> None:
                self._logits = forward(self._ids)

            try:
                self._step = captured(run, device, lambda: self.crop(used))
            except RuntimeError:
                self.crop(used)
                raise
        self._ids.fill_(token)
        self._step()
        return self._logits.clone()
