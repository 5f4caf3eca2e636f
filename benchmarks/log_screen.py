"""Response times of the Log screen with a large log: opening it, and the first results after a key.

python -m benchmarks.log_screen [--messages 1000000] [--runs 10] [--folder DIR]

Runs the real app without a terminal, on the log of benchmarks/log.py; `--folder` uses a log kept there, or keeps it.
Opening ends with the first visible row, a search with rows that show the typed text.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from textual import events
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static

from assistant.engine.models import catalogue
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store.database import open_database
from assistant.tui.app import AssistantApp
from assistant.tui.log.screen import LogScreen
from benchmarks.log import make

SIZE = (120, 32)
TYPED = ["the", "harbour", "wh", "中文", "of and", "q"]
"""Searches, typed key by key: common and rare words, prefixes, and two characters."""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.001)


def press(app: App[None], key: str) -> None:
    """Press a key without waiting for its effect."""
    assert app._driver is not None
    event = events.Key("space" if key == " " else key, key if len(key) == 1 else None)
    event.set_sender(app)
    app._driver.send_message(event)


def painted(screen: LogScreen) -> bool:
    """Whether a row, or the sentence for an empty log, is painted."""
    if screen.has_class("-empty"):
        return True
    return bool(screen.table.count) and screen.table.row is not None and not screen._dirty_widgets


async def run(paths: Paths) -> tuple[float, float, list[float]]:
    """Seconds from the key to the first row, to the complete count, and from each key to its results."""
    app = AssistantApp(paths, Settings(model="m"))
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: app.chat.is_attached_to_logs)
        await pilot.pause(0.5)
        started = time.perf_counter()
        press(app, "f8")
        await until(lambda: isinstance(app.screen, LogScreen) and app.screen.is_mounted and painted(app.screen))
        opened = time.perf_counter() - started
        screen = app.screen
        assert isinstance(screen, LogScreen)
        await until(lambda: " of " in str(screen.query_one("#count", Static).render()))
        counted = time.perf_counter() - started
        await pilot.pause(0.5)
        return opened, counted, await searches(pilot, screen)


async def searches(pilot: Pilot[None], screen: LogScreen) -> list[float]:
    """Seconds from each key to its results on the screen."""
    taken = []
    await pilot.press("slash")
    for typed in TYPED:
        for key in typed:
            before = screen._rows
            started = time.perf_counter()
            press(screen.app, key)
            await until(lambda before=before: screen._rows is not before and painted(screen))  # type: ignore[misc]
            taken.append(time.perf_counter() - started)
            await pilot.pause(0.1)  # ten keys a second
        await pilot.press("escape")
        await pilot.pause(0.3)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        kept = folder / f"log-{arguments.messages}.db"
        if not kept.exists():
            with closing(open_database(kept)) as db:
                make(db, arguments.messages)
        paths = Paths(Path(temporary) / "config", Path(temporary) / "data").create()
        catalogue.add_remote(paths, catalogue.Remote("m", "http://127.0.0.1:9/v1", "m"))  # skips the first-run screen
        shutil.copyfile(kept, paths.database)
        runs = [asyncio.run(run(paths)) for _ in range(arguments.runs + 1)][1:]  # the first run imports
    keys = [1000 * taken for _, _, searched in runs for taken in searched]
    print(f"{arguments.messages:,} messages, milliseconds")
    for name, times in (
        ("open: the first rows", [1000 * row[0] for row in runs]),
        ("open: all are counted", [1000 * row[1] for row in runs]),
        ("a key: its results", keys),
    ):
        worst = sorted(times)[min(len(times) - 1, int(len(times) * 0.95))]
        print(f"{name:24} median {statistics.median(times):6.1f}   p95 {worst:6.1f}   max {max(times):6.1f}")


if __name__ == "__main__":
    main()
