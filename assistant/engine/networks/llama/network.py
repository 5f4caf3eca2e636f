"""The Llama family as a network: which forward pass an ask takes, and the keys and values it adds to."""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from assistant.adapters.folder import AdapterFolder
from assistant.engine.generate.cache import room
from assistant.engine.networks.adapters import Adapters
from assistant.engine.networks.llama import native
from assistant.engine.networks.llama.adapted import Adapter
from assistant.engine.networks.llama.low_rank import AdaptedLinear
from assistant.engine.networks.llama.model import Model, Tree, put
from assistant.engine.networks.network import Ask, Conversation

if TYPE_CHECKING:
    from assistant.engine.networks.llama.graph import GraphStepper


class LlamaKV:
    """Keys and values (layers, 2, H_kv, T, D) of one sequence, in memory that grows with it.

    An adapter may have given it a beginning: `begin` positions before the sequence's first token.
    """

    def __init__(self, empty: Callable[[int], Tensor], beginning: Tensor | None = None) -> None:
        self._empty = empty
        self.begin = 0 if beginning is None else beginning.shape[3]
        self.tensor = empty(room(self.begin))
        if beginning is not None:
            self.tensor[:, :, :, : self.begin] = beginning

    @property
    def token_bytes(self) -> int:
        return self.tensor[:, :, :, 0].numel() * self.tensor.itemsize

    def grow(self, length: int, used: int) -> None:
        """Make room for `length` tokens; the first `used` stay."""
        if self.begin + length > self.tensor.shape[3]:
            self.tensor = self._copied(self.begin + used, room(self.begin + length))

    def crop(self, length: int) -> bool:  # noqa: ARG002 - what lies behind is written over
        return True

    def copy(self, length: int) -> "LlamaKV":
        made = copy.copy(self)
        made.tensor = self._copied(self.begin + length, room(self.begin + length))
        return made

    def _copied(self, positions: int, capacity: int) -> Tensor:
        made = self._empty(capacity)
        made[:, :, :, :positions].copy_(self.tensor[:, :, :, :positions])
        return made


class LlamaNetwork:
    """Our own forward pass. A few tokens at a time go through the C library on a CPU that it can use, and single tokens
    through a CUDA graph on a GPU."""

    trees = True

    def __init__(
        self,
        model: Model,
        device: torch.device,
        kv_dtype: torch.dtype,
        needed: Callable[[AdapterFolder], int],
        read: Callable[[AdapterFolder], Adapter],
        graph: "GraphStepper | None" = None,
    ) -> None:
        """`needed` and `read`: as `Adapters` takes them. `graph` takes what asks for one token, if there is one."""
        self.model = model
        self.device = device
        self._adapters = Adapters(device, needed, self._read)
        self._reader = read
        self._adapted: Adapter | None = None
        self._replaced: Mapping[str, nn.Module | nn.Parameter] = {}
        self.together = isinstance(model.head, native.NativeLinear)
        self._stepper = native.Stepper(model) if self.together else None
        self._graph = graph
        self._kv_dtype = kv_dtype

    @property
    def vocabulary(self) -> int:
        return int(self.model.embed.num_embeddings)

    def cache(self, adapter: str = "") -> LlamaKV:
        beginning = self._adapters.get(adapter).beginning if adapter else None
        return LlamaKV(lambda length: self.model.empty_kv(length, self._kv_dtype), beginning)

    def use(self, folder: Path) -> str:
        return self._adapters.use(folder).hash

    def _read(self, source: AdapterFolder) -> Adapter:
        self._adapt(None)  # virtual tokens are read by the base
        return self._reader(source)

    def beginning_tokens(self, adapter: str) -> int:
        beginning = self._adapters.get(adapter).beginning if adapter else None
        return 0 if beginning is None else beginning.shape[3]

    @torch.inference_mode()
    def logits(self, asks: Sequence[Ask]) -> list[Tensor]:
        found: dict[int, Tensor] = {}
        for adapter in {ask.conversation.adapter: None for ask in asks}:
            self._adapt(self._adapters.get(adapter) if adapter else None)
            alike = [ask for ask in asks if ask.conversation.adapter == adapter]
            found |= dict(zip(map(id, alike), self._logits(alike), strict=True))
        for ask in asks:
            if not ask.parents:
                _note(ask.conversation, ask.ids)
        return [found[id(ask)] for ask in asks]

    def _logits(self, asks: Sequence[Ask]) -> list[Tensor]:
        """Of asks for the adapter that is in place."""
        for ask in asks:
            held = len(ask.conversation.ids)
            _kv(ask).grow(held + len(ask.ids), held)
        stepped = [ask for ask in asks if self._is_stepped(ask)]
        found = dict(zip(map(id, stepped), self._step(stepped), strict=True))
        return [found[id(ask)] if id(ask) in found else self._forward(ask) for ask in asks]

    def _adapt(self, adapter: Adapter | None) -> None:
        """Compute with this adapter from now on, or with the base alone."""
        if adapter is self._adapted:
            return
        for name in self._adapted.parts if self._adapted else ():
            self._linear(name).adapt(())
        put(self.model, self._replaced)
        self._replaced = put(self.model, adapter.modules) if adapter else {}
        for name, parts in adapter.parts.items() if adapter else ():
            self._linear(name).adapt([part.to(self.device) for part in parts])
        self._adapted = adapter
        if self._stepper is not None:
            self._stepper.refresh()
        if self._graph is not None:
            self._graph.refresh()

    def _linear(self, name: str) -> AdaptedLinear:
        found = self.model.get_submodule(name)
        assert isinstance(found, AdaptedLinear)
        return found

    @torch.inference_mode()
    def hidden(self, ids: Sequence[int]) -> Tensor:
        self._adapt(None)
        kv = self.model.empty_kv(len(ids), self._kv_dtype)
        return self.model.hidden(torch.tensor(ids, device=self.device), kv, 0).float()

    def close(self) -> None:
        del self.model, self._stepper, self._graph, self._reader, self._adapters, self._adapted, self._replaced

    def _is_stepped(self, ask: Ask) -> bool:
        """Whether the C library takes it: no tree with a window, not so many tokens that torch is faster in 16 bits."""
        long = len(ask.ids) >= native.MANY_ROWS and native.NativeLinear.many_dtype is not None
        return self._stepper is not None and not long and not (ask.parents and any(self.model.shape.windows))

    def _step(self, asks: Sequence[Ask]) -> list[Tensor]:
        """As few passes over the weights as there is room for."""
        rows = [row for ask in asks for row in _rows(ask)]
        if not rows:
            return []
        assert self._stepper is not None
        portions = [self._stepper(rows[at : at + native.MOST_ROWS]) for at in range(0, len(rows), native.MOST_ROWS)]
        logits = torch.cat(portions) if len(portions) > 1 else portions[0]
        return list(torch.split(logits, [ask.last for ask in asks]))

    def _forward(self, ask: Ask) -> Tensor:
        if self._graph is not None and len(ask.ids) == 1 and not ask.parents:
            return self._graph(ask.ids[0], _kv(ask).tensor, _place(ask))
        ids, tree = torch.tensor(ask.ids, device=self.device), None
        if ask.parents:
            tree = Tree(ask.parents, self.device)
        logits: Tensor = self.model(ids, _kv(ask).tensor, _place(ask), ask.last, tree)
        return logits


def _rows(ask: Ask) -> list[native.Row]:
    place, kv = _place(ask), _kv(ask).tensor
    if ask.parents:
        return native.tree_rows(ask.ids, ask.parents, kv, place, ask.last)
    first = len(ask.ids) - ask.last
    return [native.Row(token, kv, place + index, index >= first) for index, token in enumerate(ask.ids)]


def _place(ask: Ask) -> int:
    """The position of the first of its ids."""
    return _kv(ask).begin + len(ask.conversation.ids)


def _kv(ask: Ask) -> LlamaKV:
    assert isinstance(ask.conversation.kv, LlamaKV)
    return ask.conversation.kv


def _note(conversation: Conversation, ids: Sequence[int]) -> None:
    conversation.ids += ids
    conversation.peak_tokens = max(conversation.peak_tokens, len(conversation.ids))
