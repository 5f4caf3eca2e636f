"""The log's texts taken to the engine, and their vectors back to the log: in the background of a window, or at once.

The program that has the log open does it, as it alone writes there; the engine makes the vectors while it has nothing
else to do.
"""

import asyncio
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING

from sqlite_utils import Database

from assistant.client import Client
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import InstalledModel
from assistant.errors import AssistantError, ModelError, ModelUnknown, ModelUnsupported
from assistant.locks import held
from assistant.paths import Paths

if TYPE_CHECKING:
    from assistant.store.meaning.vectors import Vectors

LOOK_S = 5.0
"""How often a window looks whether there is something new to embed."""

AFTER_TROUBLE_S = 60.0


def usable(paths: Paths, name: str) -> str:
    """The name of the model for search by meaning, which is here. Raises a `ModelError` that says how to get it."""
    if not name:
        raise ModelError("Search by meaning is switched off: meaning_model in config.toml is empty.")
    try:
        found = catalogue.find(paths, name)
    except ModelUnknown as error:
        known = next((one for one in catalogue.CATALOGUE if one.name == name), None)
        if known is None:
            raise
        size = f"{known.download_bytes / 1e6:.0f} MB, {known.licence}"
        raise ModelUnknown(
            f"Search by meaning needs a small model ({size}). Pull it: assistant models pull {name}"
        ) from error
    if not isinstance(found, InstalledModel) or not found.embeds:
        raise ModelUnsupported(f"{name} can't search by meaning. Set meaning_model in config.toml to a model that can.")
    return found.name


async def catch_up(
    db: Database,
    vectors: "Vectors",
    client: Client,
    model: str,
    told: Callable[[int], None] = lambda _: None,
) -> int:
    """Embed all that isn't, while the engine has nothing else to do. How many texts that were; `told` after each batch.

    Broken off, it goes on from there the next time. Raises what `Client.embed` does, and `StoreError`.
    """
    from assistant.store.meaning.embedding_queue import keep, next_batch

    done = 0
    while batch := next_batch(db, vectors):
        texts = list(batch.texts.values())
        made = await client.embed(model, texts, background=True) if texts else []
        keep(db, vectors, batch, made)
        done += len(texts)
        told(done)
        await asyncio.sleep(0)
    return done


async def keep_up(db: Database, client: Client, paths: Paths, name: str) -> None:
    """Embed what is said, for as long as a window is open and holds an engine: it starts none. Never ends by itself.

    Of several windows one does it. What goes wrong is tried again later: search tells how much is known so far.
    """
    while True:
        pause_s = LOOK_S
        try:
            if client.attached:
                model = usable(paths, name)
                await _one_round(db, client, paths, model)
        except ModelError:
            pass  # not pulled, or just removed
        except AssistantError:
            pause_s = AFTER_TROUBLE_S
        await asyncio.sleep(pause_s)


async def _one_round(db: Database, client: Client, paths: Paths, model: str) -> None:
    await asyncio.to_thread(importlib.import_module, "assistant.store.meaning.embedding_queue")
    from assistant.store.meaning.embedding_queue import open_vectors

    with alone(paths) as free:
        if free:
            with closing(open_vectors(db, model)) as vectors:
                await catch_up(db, vectors, client, model)


def alone(paths: Paths) -> AbstractContextManager[bool]:
    """Be the only one that embeds this log inside the block. False, at once, where another program does."""
    return held(paths.run / "meaning.lock")
