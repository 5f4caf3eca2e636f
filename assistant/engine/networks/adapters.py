"""The adapters of one loaded model: read once, the least recently used dropped where memory is short.

The base is never merged with them, so that it may have 4 bits, stays what it is bit for bit, and an adapter is swapped
in the time that it takes to set a few references.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from assistant.adapters.folder import AdapterFolder, opened
from assistant.engine.hardware import machine, placement
from assistant.errors import AdapterError

HELD_BYTES = 1 << 30
"""Memory that adapters may take together. The most recently used one stays in any case."""


class Applicable(Protocol):
    """An adapter that was read for one model."""

    @property
    def hash(self) -> str: ...

    def drop(self) -> None:
        """Give back what it holds of the model."""


Read = TypeVar("Read", bound=Applicable)


class Adapters(Generic[Read]):
    """Adapters by hash."""

    def __init__(
        self, device: torch.device, needed: Callable[[AdapterFolder], int], read: Callable[[AdapterFolder], Read]
    ) -> None:
        """`needed`: bytes that an adapter takes. `read` raises `AdapterError` where it doesn't fit the model."""
        self._device = device
        self._needed = needed
        self._read = read
        self._held: dict[str, tuple[Read, int]] = {}  # least recently used first
        self._paths: dict[str, Path] = {}

    def use(self, path: Path) -> Read:
        """The adapter in `path`, which becomes the most recently used. Raises `AdapterError`."""
        source = opened(path)
        self._paths[source.hash] = path
        found = self._held.pop(source.hash, None) or self._new(source)
        self._held[source.hash] = found
        while len(self._held) > 1 and self._bytes > HELD_BYTES:
            self._drop_oldest()
        return found[0]

    def get(self, hash_: str) -> Read:
        """The adapter that `use` gave, which becomes the most recently used. Raises `AdapterError` where it was dropped
        since and can't be read again.
        """
        if hash_ in self._held:
            self._held[hash_] = self._held.pop(hash_)
            return self._held[hash_][0]
        found = self.use(self._paths[hash_])
        if found.hash != hash_:
            raise AdapterError(f"The adapter in {self._paths[hash_]} was changed while a reply was made with it.")
        return found

    def _new(self, source: AdapterFolder) -> tuple[Read, int]:
        needed = self._needed(source)
        while self._held and needed > placement.free_bytes(self._device):
            self._drop_oldest()
        if needed > (free := placement.free_bytes(self._device)):
            raise AdapterError(
                f"The adapter in {source.path} takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free "
                f"on {self._device}. Close other programs, or use the base."
            )
        found = self._read(source)
        if opened(source.path).hash != source.hash:
            raise AdapterError(f"The adapter in {source.path} was changed while it was read. Ask again.")
        return found, needed

    @property
    def _bytes(self) -> int:
        return sum(size for _, size in self._held.values())

    def _drop_oldest(self) -> None:
        self._held.pop(next(iter(self._held)))[0].drop()
        machine.release_memory()
