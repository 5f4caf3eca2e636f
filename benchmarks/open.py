"""Time to open long things: a conversation of 5,000 messages, a list of 10,000 conversations compared with ten.

    python benchmarks/open.py [--runs 5]

Runs the real app on a generated log, without a terminal. A conversation is open when its end has been painted.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages
from assistant.store.database import open_database, transaction
from assistant.store.messages import Outcome, Provenance
from assistant.tui.app import AssistantApp

SIZE = (120, 32)
MADE = Provenance("model", "plain", "hash", "template", {}, 1)
ANSWER = "An answer with **bold** words:\n\n1. one 鲸鱼\n2. two\n\n```python\nprint('three')\n```\n"


def fill(paths: Paths, others: int) -> int:
    """A log with a conversation of 5,000 messages and `others` empty ones; returns the id of the long one."""
    db = open_database(paths.database)
    with transaction(db):
        long = conversations.create(db, model="m").id
        conversations.rename(db, long, "The long one")
        parent = None
        for number in range(2500):
            user = messages.add_user(db, long, parent, f"Question {number}, of the length that questions have.")
            parent = messages.begin_reply(db, long, user, MADE)
            messages.end_reply(db, parent, f"{number}. {ANSWER}", "complete", Outcome())
        for number in range(others):
            conversations.rename(db, conversations.create(db, model="m").id, f"Travel plans 旅行计划 {number}")
    db.close()
    return long


async def until(app: AssistantApp, holds: str) -> None:
    """Wait until the screen shows the text."""
    while holds not in "".join(strip.text for strip in app.screen._compositor.render_strips()):
        await asyncio.sleep(0.001)


async def run(paths: Paths, long: int) -> tuple[float, float]:
    """(seconds from the start of the app to its list, seconds from choosing the long conversation to its end)."""
    app = AssistantApp(paths, Settings(model="m"))
    started = time.perf_counter()
    async with app.run_test(size=SIZE) as pilot:
        await until(app, "today")
        listed = time.perf_counter() - started
        await pilot.pause()
        chosen = time.perf_counter()
        app.chat.open(private=False, conversation_id=long)
        await until(app, "2499. An answer")
        opened = time.perf_counter() - chosen
        app.chat.open(private=False, conversation_id=None)
        await app.action_quit()
    return listed, opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    listed = {}
    for others in (9, 9_999):
        with tempfile.TemporaryDirectory() as home:
            paths = Paths(Path(home) / "config", Path(home) / "data").create()
            catalogue.add_remote(
                paths, catalogue.Remote("m", "http://127.0.0.1:9/v1", "m")
            )  # skips the first-run screen
            long = fill(paths, others)
            rows = [asyncio.run(run(paths, long)) for _ in range(runs + 1)][1:]  # the first run imports
        listed[others] = statistics.median(row[0] for row in rows)
        opened = statistics.median(row[1] for row in rows)
        print(
            f"{others + 1:>6,} conversations: list after {listed[others]:.3f} s, 5,000 messages open in {opened:.3f} s"
        )
    print(f"listing 10,000 takes {listed[9_999] / listed[9]:.2f} times as long as listing ten")


if __name__ == "__main__":
    main()
