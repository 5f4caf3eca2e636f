"""The adapters of one loaded model: read once, checked against the memory, the least recently used ones dropped.

The base is never merged with them, so that it may have 4 bits, stays what it is bit for bit, and an adapter is swapped
in the time that it takes to set a few references.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from assistant.adapters.folder import AdapterFolder, opened
from assistant.engine import placement
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
        self._make_room()
        return found[0]

    def get(self, hash_: str) -> Read:
        """The adapter that `use` gave. Raises `AdapterError` where it was dropped since and can't be read again."""
        if hash_ in self._held:
            return self._held[hash_][0]
        found = self.use(self._paths[hash_])
        if found.hash != hash_:
            raise AdapterError(f"The adapter in {self._paths[hash_]} was changed while a reply was made with it.")
        return found

    def _new(self, source: AdapterFolder) -> tuple[Read, int]:
        needed, free = self._needed(source), placement.free_bytes(self._device)
        if needed > free:
            raise AdapterError(
                f"The adapter in {source.path} takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free "
                f"on {self._device}. Close other programs, or use the base."
            )
        found = self._read(source)
        if opened(source.path).hash != source.hash:
            raise AdapterError(f"The adapter in {source.path} was changed while it was read. Ask again.")
        return found, needed

    def _make_room(self) -> None:
        while len(self._held) > 1 and sum(size for _, size in self._held.values()) > HELD_BYTES:
            oldest = next(iter(self._held))
            self._held.pop(oldest)[0].drop()
