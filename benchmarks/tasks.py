"""Time to classify a file, list the templates and render one, as by the commands.

python -m benchmarks.tasks [--rows 1000]
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time

from assistant.adapters.speakers import BASE
from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tasks.run import Batch
from assistant.tasks.task import Task
from benchmarks.cold_start import new_home
from benchmarks.made_text import COMMON
from prompts import template
from prompts.message import Message
from prompts.render import render

TOPICS = template.parse(
    """---
kind: label
description: The topic of a news text
labels: [sport, politics, business, science, culture]
examples:
  - {input: The striker scored twice in the final, output: sport}
  - {input: Parliament votes on the new budget today, output: politics}
---
# system
You sort news by topic: sport, politics, business, science or culture.
# user
Text: {{ input }}
Topic, in one word:
""",
    name="topics",
)


async def classify(paths: Paths, rows: int) -> float:
    """Seconds to classify a file of texts of about 40 tokens, with the engine loaded."""
    source = paths.data / "rows.jsonl"
    texts = (" ".join(COMMON[(number * 7 + at * 13) % len(COMMON)] for at in range(38)) for number in range(rows))
    source.write_text("".join(json.dumps({"input": text}) + "\n" for text in texts))
    async with Client(paths, Settings()) as client:
        task = Task(client, TOPICS, catalogue.DEFAULT, BASE, Sampling(temperature=0), {})
        await task.ask({"input": "The engine is loaded and the examples are read."})
        batch = Batch(task, source, "batch", paths.data / "journal")
        began_s = time.perf_counter()
        await batch.ask(lambda _: None)
        list(await batch.predictions())
        return time.perf_counter() - began_s


def listed(paths: Paths) -> float:
    environment = {**os.environ, "ASSISTANT_HOME": str(paths.data.parent)}
    began_s = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "assistant", "prompts", "list"], env=environment, capture_output=True, check=True
    )
    return time.perf_counter() - began_s


def rendered() -> float:
    began_s = time.perf_counter()
    for _ in range(100):
        render(TOPICS, [Message("user", "text " * 40)], {})
    return (time.perf_counter() - began_s) / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    rows = parser.parse_args().rows
    with new_home() as paths:
        print(f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f}")
        took_s = asyncio.run(classify(paths, rows))
        print(f"{rows:,} texts sorted into 5 classes    {took_s:>8.1f} s   {took_s / rows * 1000:.0f} ms each")
        print(f"assistant prompts list             {statistics.median(listed(paths) for _ in range(7)):>8.2f} s")
        print(f"a template rendered                {rendered() * 1000:>8.2f} ms")


if __name__ == "__main__":
    main()
