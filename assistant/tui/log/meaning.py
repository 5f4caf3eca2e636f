"""Search by meaning for the Log screen: a question's vector from the engine, the log's vectors in the log's thread."""

from typing import TYPE_CHECKING

from sqlite_utils import Database

from assistant.client import Client
from assistant.paths import Paths
from assistant.store.search.filter import Filter
from assistant.store.search.search import Found

if TYPE_CHECKING:
    from assistant.store.meaning.vectors import Vectors


class Meaning:
    """The model that knows what texts mean, and what it made of the log, which is opened when it is first asked."""

    def __init__(self, client: Client, paths: Paths, model: str) -> None:
        self._client = client
        self._paths = paths
        self._model = model
        self._vectors: Vectors | None = None

    def check(self) -> None:
        """Raises a `ModelError` that says how to get the model where it isn't here."""
        from assistant.meaning_index import usable

        usable(self._paths, self._model)

    async def vector(self, question: str) -> list[float]:
        """Raises what `Client.embed` does."""
        (vector,) = await self._client.embed(self._model, [question])
        return vector

    # --- in the log's thread

    def near(self, db: Database, question: str, vector: list[float], filter_: Filter, limit: int) -> Found:
        """What matches a question by words or by meaning, the nearest first."""
        from assistant.store.meaning import meaning

        return meaning.hybrid(db, self._open(db), question, vector, filter_, limit=limit)

    def share(self, db: Database) -> float:
        """About how much of the log can be found by meaning."""
        from assistant.store.meaning.embedding_queue import share

        return share(db, self._open(db))

    def close(self, db: Database) -> None:  # noqa: ARG002  as every question to the log
        """Give the vectors back."""
        if self._vectors is not None:
            self._vectors.close()
            self._vectors = None

    def _open(self, db: Database) -> "Vectors":
        from assistant.store.meaning.embedding_queue import open_vectors

        if self._vectors is None:
            self._vectors = open_vectors(db, self._model)
        return self._vectors
