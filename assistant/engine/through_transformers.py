"""Every architecture that transformers can load, as a network."""

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from assistant.engine import adapters, weights
from assistant.engine.adapter_folder import AdapterFolder
from assistant.engine.adapters import Adapter, Adapters
from assistant.engine.network import Ask


class TransformersKV:
    """transformers' own cache."""

    def __init__(self, layers: DynamicCache) -> None:
        self.layers = layers

    @property
    def token_bytes(self) -> int:
        length = self.layers.get_seq_length()
        tensors = [t for layer in self.layers.layers for t in vars(layer).values() if torch.is_tensor(t)]
        return sum(t.numel() * t.itemsize for t in tensors) // length if length else 0

    def crop(self, length: int) -> bool:
        surplus = self.layers.get_seq_length() - length
        if not self.layers.is_croppable:  # such as Mamba's state
            return False
        try:
            self.layers.crop(-surplus)
        except RuntimeError:  # a sliding window that has moved on
            return False
        return True

    def copy(self, length: int) -> "TransformersKV | None":
        made = TransformersKV(copy.deepcopy(self.layers))
        return made if made.crop(length) else None


class TransformersNetwork:
    """One ask at a time through transformers' forward pass."""

    together = False
    trees = False

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model.device
        self._adapters = Adapters(self._attached)
        self._adapted = ""
        self._cache_argument = weights.cache_argument(model)
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters

    def cache(self) -> TransformersKV:
        return TransformersKV(DynamicCache(config=self.model.config))

    def use(self, folder: Path) -> str:
        return self._adapters.read(folder).hash

    def _attached(self, folder: Path) -> Adapter:
        name = AdapterFolder.open(folder).hash
        if name not in self._adapters.held:
            adapters.attach(self.model, folder, name)
            self._adapted = ""
        return Adapter({}, name, "")

    def _adapt(self, name: str) -> None:
        """Compute with the adapter of this hash from now on; empty: with the base alone."""
        if name != self._adapted:
            adapters.use(self.model, name or None)
            self._adapted = name

    @torch.inference_mode()
    def logits(self, asks: Sequence[Ask]) -> list[Tensor]:
        return [self._forward(ask) for ask in asks]

    @torch.inference_mode()
    def hidden(self, ids: Sequence[int]) -> Tensor:
        self._adapt("")
        out = self.model(input_ids=self._input(ids), output_hidden_states=True, use_cache=False)
        states: Tensor = out.hidden_states[-1][0]
        return states.float()

    def close(self) -> None:
        del self.model

    def _forward(self, ask: Ask) -> Tensor:
        assert isinstance(ask.conversation.kv, TransformersKV)
        self._adapt(ask.conversation.adapter)
        options: dict[str, Any] = {self._cache_argument: ask.conversation.kv.layers, "use_cache": True}
        if self._takes_logits_to_keep:
            options["logits_to_keep"] = ask.last
        out = self.model(input_ids=self._input(ask.ids), **options)
        ask.conversation.ids += ask.ids
        ask.conversation.peak_tokens = len(ask.conversation.ids)
        logits: Tensor = out.logits[0, -ask.last :]
        return logits

    def _input(self, ids: Sequence[int]) -> Tensor:
        """One sequence (1, T) of ids."""
        return torch.tensor([list(ids)], device=self.device)
