"""How long the screen is blocked while a reply streams, compared with Textual's `Markdown.get_stream`.

A list of 80 items, a table of 80 rows and 300 lines of code arrive at 150 tokens a second while 10 keys a second are
typed. A ticker of 1 ms measures the longest time for which the event loop was blocked; a key's latency ends when its
screen has been painted.

    python benchmarks/stream.py [--runs 3] [--rate 150]
"""

import argparse
import asyncio
import gc
import random
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter

from textual import events
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Markdown, TextArea

from assistant.tui.chat.composer import Composer
from assistant.tui.widgets.message import MessageView
from assistant.tui.widgets.transcript import Transcript

TEXTS = {
    "80-item list": "".join(f"- item {i} with **bold** words and `code` inside it\n" for i in range(80)),
    "80-row table": "| name | value | meaning |\n|---|---|---|\n"
    + "".join(f"| row {i} | **value** {i} | a few words that explain it |\n" for i in range(80)),
    "300-line fence": "```python\n" + "".join(f"def function_{i}(a, b=1):  # comment\n" for i in range(300)) + "```\n",
}
SIZE = (120, 32)
KEY_INTERVAL_S = 0.1


class Ours(App[None]):
    """This program's transcript and composer."""

    def compose(self) -> ComposeResult:
        yield Transcript()
        yield Composer()

    async def start(self) -> None:
        self.transcript = self.query_one(Transcript)
        self.transcript.start_stream(MessageView(1, "assistant", "", "", "growing"))
        self.reply = ""

    async def write(self, piece: str) -> None:
        self.reply += piece
        await self.transcript.append(1, piece)

    async def end(self) -> None:
        await self.transcript.end_stream(MessageView(1, "assistant", self.reply, ""))


class Peer(App[None]):
    """Textual's `Markdown.get_stream` in an anchored container."""

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Markdown()
        yield TextArea()

    async def start(self) -> None:
        self.query_one(VerticalScroll).anchor()
        self.markdown_stream = Markdown.get_stream(self.query_one(Markdown))

    async def write(self, piece: str) -> None:
        await self.markdown_stream.write(piece)

    async def end(self) -> None:
        await self.markdown_stream.stop()


@dataclass
class Measured:
    """Longest stall of each run, and the latency of each key, in milliseconds."""

    stalls_ms: list[float] = field(default_factory=list)
    keys_ms: list[float] = field(default_factory=list)

    @property
    def stall_ms(self) -> float:
        return median(self.stalls_ms)

    @property
    def key_p99_ms(self) -> float:
        return quantiles(self.keys_ms, n=100)[98]


async def measure(app: Ours | Peer, text: str, rate: float, into: Measured) -> None:
    """Stream `text` once, at `rate` tokens of about four characters a second."""
    async with app.run_test(size=SIZE) as pilot:
        app.query_one(TextArea).focus()
        await pilot.pause(0.5)
        gc.collect()
        gc.freeze()  # as the program does after the first paint
        stalls: list[float] = []
        tasks = [asyncio.create_task(tick(stalls)), asyncio.create_task(type_keys(app, into.keys_ms))]
        await app.start()
        started_s = perf_counter()
        for i, piece in enumerate(pieces(text)):
            await asyncio.sleep(max(0.0, started_s + i / rate - perf_counter()))
            await app.write(piece)
        await app.end()
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        into.stalls_ms.append(max(stalls))


def pieces(text: str) -> list[str]:
    """`text` in tokens of one to seven characters, the same each time."""
    lengths = random.Random(0)
    cut = []
    while text:
        length = lengths.randint(1, 7)
        cut.append(text[:length])
        text = text[length:]
    return cut


async def tick(stalls_ms: list[float]) -> None:
    """Record how much later than 1 ms each tick comes."""
    last_s = perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now_s = perf_counter()
        stalls_ms.append((now_s - last_s - 0.001) * 1000)
        last_s = now_s


async def type_keys(app: App[None], keys_ms: list[float]) -> None:
    """Type keys, and record when each key's screen has been painted."""
    area = app.query_one(TextArea)
    while True:
        await asyncio.sleep(KEY_INTERVAL_S)
        before, started_s = len(area.text), perf_counter()
        app.post_message(events.Key("x", "x"))
        while len(area.text) == before:
            await asyncio.sleep(0)
        painted = asyncio.Event()
        area.call_after_refresh(painted.set)
        await painted.wait()
        keys_ms.append((perf_counter() - started_s) * 1000)


async def main(runs: int, rate: float) -> None:
    print(f"medians of {runs} runs, {rate:g} tokens/s, {SIZE[0]}x{SIZE[1]}\n")
    print("| text | longest stall: ours | peer | peer / ours | key p99: ours | peer | peer / ours |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, text in TEXTS.items():
        ours, peer = Measured(), Measured()
        for _ in range(runs):
            await measure(Ours(), text, rate, ours)
            await measure(Peer(), text, rate, peer)
        print(
            f"| {name} | {ours.stall_ms:.0f} ms | {peer.stall_ms:.0f} ms | {peer.stall_ms / ours.stall_ms:.1f} "
            f"| {ours.key_p99_ms:.0f} ms | {peer.key_p99_ms:.0f} ms | {peer.key_p99_ms / ours.key_p99_ms:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="how often each text is streamed (default 3)")
    parser.add_argument("--rate", type=float, default=150.0, help="tokens a second (default 150)")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.rate))
