"""Speed of search by meaning and of the search for duplicates in a large log, and of the real embedding model.

python benchmarks/meaning.py [--messages 1000000] [--queries 100] [--folder DIR]

Uses the log of `benchmarks/log.py` with random vectors: 10,000 topics and noise, as embedding a million texts takes a
night. Results are compared with an exact search. The real model is timed separately.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from assistant.store.database import open_database
from assistant.store.judgements import doubles
from assistant.store.meaning import meaning
from assistant.store.meaning.embedding_queue import keep, next_batch, open_vectors
from assistant.store.meaning.vectors import Vectors, quantised
from assistant.store.search.filter import EVERYTHING
from benchmarks.log import FILTERS, make
from benchmarks.made_text import COMMON

SIZE, TOPICS = 384, 10_000


def made_vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors, each near one of the topics."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(1).standard_normal((TOPICS, SIZE), dtype=np.float32)
    made = topics[rng.integers(TOPICS, size=count)] + 0.8 * rng.standard_normal((count, SIZE), dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def fill(vectors: Vectors, count: int) -> float:
    """Store a random vector for every message, as the engine would. Returns seconds."""
    started = time.perf_counter()
    for first in range(0, count, 20_000):
        made = made_vectors(min(20_000, count - first), first)
        with vectors.writing():
            vectors.replace({first + at + 1: [(first + at + 1, quantised(one))] for at, one in enumerate(made)})
            vectors.set("low", 1)
            vectors.set("high", count)
    return time.perf_counter() - started


def recall(vectors: Vectors, count: int, queries: NDArray[np.float32]) -> float:
    """Share of the ten nearest neighbours that are among the ten found."""
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    for first in range(0, count, 20_000):
        near = made_vectors(min(20_000, count - first), first) @ queries.T
        for at, found in enumerate(best):
            top = np.argpartition(-near[:, at], 10)[:10]
            best[at] = sorted([*found, *((float(near[one, at]), first + int(one) + 1) for one in top)])[-10:]
    hits = 0
    for query, found in zip(queries, best, strict=True):
        hits += len({one for _, one in found} & {one for one, _ in vectors.nearest(query.tolist(), 10)})
    return hits / (10 * len(queries))


def searches(db: Database, vectors: Vectors, queries: NDArray[np.float32]) -> dict[str, list[float]]:
    words = [str(word) for word in COMMON]
    taken: dict[str, list[float]] = {}
    for at, query in enumerate(queries.tolist()):
        for name, filter_ in [("", EVERYTHING), *((f", {name}", one) for name, one in FILTERS.items())]:
            taken.setdefault(f"by meaning{name}", []).append(
                _ms(lambda q=query, f=filter_: meaning.by_meaning(db, vectors, q, f))  # type: ignore[misc]
            )
        typed = f"{words[at % len(words)]} {words[(at + 7) % len(words)]}"
        taken.setdefault("by both", []).append(
            _ms(lambda q=query, t=typed: meaning.hybrid(db, vectors, t, q))  # type: ignore[misc]
        )
    return taken


def following(db: Database, vectors: Vectors) -> dict[str, float]:
    """Cost of new and known texts without the model, in ms a message."""
    vectors.set("high", vectors.get("high") - 2_000)
    started, done = time.perf_counter(), 0
    while (batch := next_batch(db, vectors)) and done < 2_000:
        keep(db, vectors, batch, made_vectors(len(batch.texts), 3).tolist())
        done += len(batch.messages)
    return {"store a message's vector, ms": (time.perf_counter() - started) * 1000 / max(1, done)}


def model_speed(models: Path) -> dict[str, float]:
    from assistant.engine.models.catalogue import MEANING
    from assistant.engine.networks.embedder import Embedder

    started = time.perf_counter()
    embedder = Embedder.load(models / MEANING)
    told = {"load the model, s": time.perf_counter() - started}
    for words in (8, 90, 200):
        text = " ".join((COMMON * 20)[:words])
        embedder.embed(text)
        told[f"embed {embedder.embed(text)[1]} tokens, ms"] = statistics.median(
            _ms(lambda text=text: embedder.embed(text))  # type: ignore[misc]
            for _ in range(20)
        )
    return told


def _ms(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000


def measure(file: Path, count: int, runs: int) -> None:
    with closing(open_database(file)) as db:
        if not db.conn.execute("SELECT 1 FROM messages LIMIT 1").fetchone():
            make(db, count)
        with closing(open_vectors(db, "made")) as vectors:
            if vectors.get("high") is None:
                _tell("fill, vectors a second", count / fill(vectors, count))
            _tell("file of vectors, MB", vectors.file.stat().st_size / 1e6)
        with closing(Vectors(file.with_suffix(".meaning"))) as vectors:
            queries = made_vectors(runs, 99)
            _tell("first search, ms", _ms(lambda: vectors.nearest(queries[0].tolist(), 50)))
            for name, times in searches(db, vectors, queries).items():
                _row(name, times)
            _row("nearest alone", [_ms(lambda q=q: vectors.nearest(q, 200)) for q in queries.tolist()])  # type: ignore[misc]
            _tell("recall of the nearest ten", recall(vectors, count, queries[:20]))
            for name, value in following(db, vectors).items():
                _tell(name, value)
        for near in (False, True):
            started = time.perf_counter()
            groups = doubles.find(db, near=near)
            _tell(f"find doubles{', near ones too' if near else ''}, s", time.perf_counter() - started)
            _tell("  groups", groups)


def _tell(name: str, value: float) -> None:
    print(f"{name:40}{value:12,.2f}", flush=True)


def _row(name: str, times: Sequence[float]) -> None:
    p95 = sorted(times)[int(len(times) * 0.95)]
    print(f"{name:40}{statistics.median(times):8.2f}{p95:8.2f}{max(times):8.2f} ms (median, p95, max)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--models", type=Path, help="Folder with the embedding model, to time it too.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        measure(folder / f"log-{arguments.messages}.db", arguments.messages, arguments.queries)
    if arguments.models:
        for name, value in model_speed(arguments.models).items():
            _tell(name, value)


if __name__ == "__main__":
    main()
