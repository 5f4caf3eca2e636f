"""Every architecture that transformers can load, as a network."""

import copy
import inspect
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from assistant.adapters.folder import AdapterFolder
from assistant.engine.formats import weights
from assistant.engine.networks import static_kv
from assistant.engine.networks.adapters import Adapters
from assistant.engine.networks.network import Ask
from assistant.engine.networks.static_kv import StaticKV
from assistant.engine.networks.transformers_adapters import Adapter, Changed, Gains, PeftLora, VirtualTokens, linears

log = logging.getLogger(__name__)


class TransformersKV:
    """transformers' own cache. An adapter may have given it a beginning: `begin` positions before the first token."""

    def __init__(self, layers: DynamicCache, begin: int = 0) -> None:
        self.layers = layers
        self.begin = begin

    @property
    def token_bytes(self) -> int:
        length = self.layers.get_seq_length()
        tensors = [t for layer in self.layers.layers for t in vars(layer).values() if torch.is_tensor(t)]
        return sum(t.numel() * t.itemsize for t in tensors) // length if length else 0

    def crop(self, length: int) -> bool:
        surplus = self.layers.get_seq_length() - self.begin - length
        if not self.layers.is_croppable:  # such as Mamba's state
            return False
        try:
            self.layers.crop(-surplus)
        except RuntimeError:  # a sliding window that has moved on
            return False
        return True

    def copy(self, length: int) -> "TransformersKV | None":
        made = TransformersKV(copy.deepcopy(self.layers), self.begin)
        return made if made.crop(length) else None


class TransformersNetwork:
    """One ask at a time through transformers' forward pass."""

    together = False
    trees = False

    def __init__(self, model: Any, static: bool | None = None) -> None:
        """`static`: whether decoding is one CUDA graph over a static cache; None: where that is possible."""
        self.model = model
        self.device = model.device
        self._parameters, self._linears = dict(model.named_parameters()), linears(model)
        self._adapters = Adapters(self.device, self._bytes, self._read)
        self._adapted: Adapter | None = None
        self._graphs = True
        self._cache_argument = weights.cache_argument(model)
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters

        self._static = (self.device.type == "cuda" and static_kv.possible(model)) if static is None else static

    @property
    def vocabulary(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])

    def cache(self, adapter: str = "") -> "TransformersKV | StaticKV":
        found = self._adapters.get(adapter) if adapter else None
        if found is not None and (beginning := found.beginning()) is not None:
            return TransformersKV(copy.deepcopy(beginning), found.begin)
        if self._static:
            return StaticKV(self.model.config)
        return TransformersKV(DynamicCache(config=self.model.config))

    def use(self, folder: Path) -> str:
        return self._adapters.use(folder).hash

    def beginning_tokens(self, adapter: str) -> int:
        return self._adapters.get(adapter).begin if adapter else 0

    def _bytes(self, source: AdapterFolder) -> int:
        return source.numel * (self.model.dtype.itemsize if source.kind == "weights" else 4)

    def _read(self, source: AdapterFolder) -> Adapter:
        self._adapt(None)
        match source.kind:
            case "lora":
                return PeftLora(self.model, source)
            case "ia3":
                return Gains(self._linears, source)
            case "prefix" | "prompt":
                return VirtualTokens(self.model, source, self._cache_argument)
        return Changed(self._parameters, source)

    def _adapt(self, adapter: Adapter | None) -> None:
        """Compute with this adapter from now on, or with the base alone."""
        if adapter is self._adapted:
            return
        if self._adapted is not None:
            self._adapted.off()
            self._adapted = None
        if adapter is not None:
            adapter.on()
            self._adapted = adapter

    @torch.inference_mode()
    def logits(self, asks: Sequence[Ask]) -> list[Tensor]:
        return [self._forward(ask) for ask in asks]

    @torch.inference_mode()
    def hidden(self, ids: Sequence[int]) -> Tensor:
        self._adapt(None)
        out = self.model(input_ids=self._input(ids), output_hidden_states=True, use_cache=False)
        states: Tensor = out.hidden_states[-1][0]
        return states.float()

    def close(self) -> None:
        del self.model, self._parameters, self._linears, self._adapters, self._adapted

    def _forward(self, ask: Ask) -> Tensor:
        kv, used = ask.conversation.kv, len(ask.conversation.ids)
        assert isinstance(kv, TransformersKV | StaticKV)
        self._adapt(self._adapters.get(ask.conversation.adapter) if ask.conversation.adapter else None)
        if isinstance(kv, StaticKV):
            kv.grow(used + len(ask.ids), used)
        logits = self._step(kv, ask.ids[0], used) if isinstance(kv, StaticKV) and used and len(ask.ids) == 1 else None
        if logits is None:
            logits = self._logits(kv, self._input(ask.ids), ask.last)
        ask.conversation.ids += ask.ids
        ask.conversation.peak_tokens = len(ask.conversation.ids)
        return logits

    def _step(self, kv: StaticKV, token: int, used: int) -> Tensor | None:
        """Logits (1, V) by a CUDA graph; None where this model can't be captured, which is tried once."""
        if not self._graphs:
            return None
        try:
            return kv.step(lambda ids: self._logits(kv, ids, 1), token, used)
        except RuntimeError as error:
            log.warning("This model's decode step can't be a CUDA graph, so it is slower: %s", error)
            self._graphs = False
            return None

    def _logits(self, kv: "TransformersKV | StaticKV", ids: Tensor, last: int) -> Tensor:
        """Logits (last, V) of ids (1, T), which join the cache."""
        options: dict[str, Any] = {self._cache_argument: kv.layers, "use_cache": True}
        if self._takes_logits_to_keep:
            options["logits_to_keep"] = last
        logits: Tensor = self.model(input_ids=ids, **options).logits[0, -last:]
        return logits

    def _input(self, ids: Sequence[int]) -> Tensor:
        """One sequence (1, T) of ids."""
        return torch.tensor([list(ids)], device=self.device)
