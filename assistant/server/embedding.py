"""Vectors of texts, made beside the thread that runs chat models: a chat goes on, and goes first."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from assistant.errors import AssistantError
from assistant.events import Embedded
from assistant.server.worker import sentence

LOOK_S = 0.05
"""How often a request that waits looks whether it may go on."""

REST_S = 2.0
"""How long the engine must have had nothing to do before background requests go on: a chat may be about to."""


class Embeds(Protocol):
    """What is asked of the engine's `Embedder`, which is not imported here: it would import torch."""

    def embed(self, text: str) -> tuple[tuple[float, ...], int]: ...


LoadEmbedder = Callable[[str], Embeds | None]
"""model -> that model, or None for one that chats."""


class Embedding:
    """Holds one model that embeds. It is small, and stays when a chat model is changed."""

    def __init__(self, load: LoadEmbedder, ready: Callable[[], bool], busy: Callable[[], bool]) -> None:
        """Nothing is begun before `ready`: two threads can't import torch at once. Background requests wait until
        nothing was `busy` for a while."""
        self._load = load
        self._ready = ready
        self._busy = busy
        self._busy_s = -REST_S
        self._at_once = ThreadPoolExecutor(1, "embedding")
        self._background = ThreadPoolExecutor(1, "embedding in the background")
        self._loading = threading.Lock()
        self._model = ""
        self._held: Embeds | None = None

    async def embed(self, model: str, texts: Sequence[str], *, background: bool) -> Embedded | None:
        """A vector for each text; None where the model is one that chats. Raises `AssistantError`."""
        vectors, tokens = [], 0
        thread = self._background if background else self._at_once
        for text in texts:
            while not self._ready() or (background and not self._rested()):
                await asyncio.sleep(LOOK_S)
            made = await asyncio.get_running_loop().run_in_executor(thread, self._one, model, text)
            if made is None:
                return None
            vectors.append(made[0])
            tokens += made[1]
        return Embedded(tuple(vectors), tokens)

    def _rested(self) -> bool:
        if self._busy():
            self._busy_s = time.monotonic()
        return time.monotonic() - self._busy_s >= REST_S

    def _one(self, model: str, text: str) -> tuple[tuple[float, ...], int] | None:
        try:
            held = self._get(model)
            return None if held is None else held.embed(text)
        except AssistantError:
            raise
        except Exception as error:
            raise sentence(error) from error

    def _get(self, model: str) -> Embeds | None:
        with self._loading:
            if self._model != model or self._held is None:
                held = self._load(model)
                if held is None:
                    return None
                self._held, self._model = held, model
            return self._held
