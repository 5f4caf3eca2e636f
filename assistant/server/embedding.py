"""The one thread that makes vectors of texts, beside the one that runs chat models: a chat goes on, and goes first."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from assistant.errors import AssistantError
from assistant.events import Embedded
from assistant.server.worker import sentence

LOOK_S = 0.05
"""How often a background request looks whether the engine has nothing better to do."""


class Embeds(Protocol):
    """What is asked of `assistant.engine.embedder.Embedder`, which is not imported here: it would import torch."""

    def embed(self, text: str) -> tuple[tuple[float, ...], int]: ...


LoadEmbedder = Callable[[str], Embeds | None]
"""model -> that model, or None for one that chats."""


class Embedding:
    """Holds one model that embeds. It is small, and stays when a chat model is changed."""

    def __init__(self, load: LoadEmbedder, ready: Callable[[], bool], busy: Callable[[], bool]) -> None:
        """Nothing is begun before `ready`: two threads can't import torch at once. While `busy`, background requests
        wait."""
        self._load = load
        self._ready = ready
        self._busy = busy
        self._thread = ThreadPoolExecutor(1, "embedding")
        self._model = ""
        self._held: Embeds | None = None

    async def embed(self, model: str, texts: Sequence[str], *, background: bool) -> Embedded | None:
        """A vector for each text; None where the model is one that chats. Raises `AssistantError`."""
        vectors, tokens = [], 0
        for text in texts:
            while not self._ready() or (background and self._busy()):
                await asyncio.sleep(LOOK_S)
            made = await asyncio.get_running_loop().run_in_executor(self._thread, self._one, model, text)
            if made is None:
                return None
            vectors.append(made[0])
            tokens += made[1]
        return Embedded(tuple(vectors), tokens)

    def _one(self, model: str, text: str) -> tuple[tuple[float, ...], int] | None:
        try:
            if self._model != model:
                held = self._load(model)
                if held is None:
                    return None
                self._held, self._model = held, model
            assert self._held is not None
            return self._held.embed(text)
        except AssistantError:
            raise
        except Exception as error:
            raise sentence(error) from error
