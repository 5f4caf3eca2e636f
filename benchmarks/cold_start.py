"""Time from no running engine to the first word of the default model, and again with the engine running.

    python benchmarks/cold_start.py [--runs 5]

The model is pulled once into the cache of the tests. Each cold run starts its own engine process.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue, fetch
from assistant.events import Finished, Token
from assistant.paths import Paths
from assistant.settings import Settings
from prompts.message import Message


@contextmanager
def new_home() -> Iterator[Paths]:
    """An empty home with the default model, which is pulled once."""
    cache = Path(os.environ.get("ASSISTANT_TEST_CACHE", Path.home() / ".cache" / "assistant-tests"))
    kept = Paths(cache / "config", cache / "data").create()
    fetch.pull(kept, catalogue.known(catalogue.DEFAULT), lambda _: None, lambda: False)
    with tempfile.TemporaryDirectory() as home:
        paths = Paths(Path(home) / "config", Path(home) / "data").create()
        paths.models.rmdir()
        paths.models.symlink_to(kept.models, target_is_directory=True)
        yield paths


async def ask(client: Client) -> tuple[float, Finished | None]:
    """Seconds to the first word, and the reply's last event."""
    started, first, finished = time.perf_counter(), 0.0, None
    said = [Message("user", "Write one sentence about the sea.")]
    async for event in client.chat(catalogue.DEFAULT, said, Sampling(temperature=0, max_tokens=64)):
        if isinstance(event, Token) and event.text and not first:
            first = time.perf_counter() - started
        if isinstance(event, Finished):
            finished = event
    return first, finished


async def run(paths: Paths) -> tuple[float, float, float]:
    """(first word cold, first word warm, tokens a second)."""
    async with Client(paths, Settings()) as client:
        cold, _ = await ask(client)
        warm, finished = await ask(client)
    assert finished is not None
    await asyncio.sleep(2)  # the engine stops with its last client
    return cold, warm, finished.timing.tokens_per_s(finished.usage.completion_tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    rows = []
    for number in range(runs + 1):  # the first run reads the GGUF, and is reported separately
        with new_home() as paths:
            row = asyncio.run(run(paths))
        print(f"run {number}: cold {row[0]:.2f} s, warm {row[1]:.3f} s, {row[2]:.1f} tokens/s", file=sys.stderr)
        rows.append(row)
    cold, warm, speed = (statistics.median(column) for column in zip(*rows[1:], strict=True))
    print(f"first word, nothing running    {cold:6.2f} s")
    print(f"first word, engine running     {warm:6.3f} s")
    print(f"decoding                       {speed:6.1f} tokens/s")


if __name__ == "__main__":
    main()
