"""Time to the first paint of the screen: python benchmarks/first_paint.py [RUNS]

Each run starts the program on a pseudo-terminal and measures the time from process start to the first frame; prints the
median, and that of an app that shows one word. `elia`, a chat program on the same toolkit, is measured if it is
installed.
"""

import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path

ROWS, COLUMNS = 32, 120
BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("Conversations")
Bare().run()
"""
TIMEOUT_S = 20.0


def seconds_to(mark: bytes, command: Sequence[str], home: str) -> float:
    """Seconds from the start of `command` until `mark` reaches the terminal."""
    started_s = time.perf_counter()
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "ASSISTANT_HOME": home, "HOME": home}
        os.execvp(command[0], list(command))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        return _wait_for(mark, terminal, started_s)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def _wait_for(mark: bytes, terminal: int, started_s: float) -> float:
    seen = b""
    while time.perf_counter() - started_s < TIMEOUT_S:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 1 << 16)
            if mark in seen:
                return time.perf_counter() - started_s
    raise SystemExit(f"{mark!r} never came; the terminal got {seen[-500:]!r}")


def median_s(mark: bytes, command: Sequence[str], runs: int) -> float:
    """Median of `runs`, after one to warm the disk's cache."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "data" / "models" / "none").mkdir(parents=True)  # skips the first-run screen
        return statistics.median([seconds_to(mark, command, home) for _ in range(runs + 1)][1:])


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    ours = str(Path(sys.executable).with_name("assistant"))
    paint_s = median_s(b"Conversations", [ours], runs)
    help_s = median_s(b"Usage", [ours, "--help"], runs)
    bare_s = median_s(b"Conversations", [sys.executable, "-c", BARE], runs)
    print(f"assistant         first paint {paint_s:.3f} s   (at most 0.45)")
    print(f"assistant --help              {help_s:.3f} s   (at most 0.15)")
    print(f"a bare Textual app            {bare_s:.3f} s   {bare_s / paint_s:.2f} times ours: the toolkit's own share")
    if elia := shutil.which("elia"):
        elia_paint_s = median_s(b"Elia", [elia], runs)
        elia_help_s = median_s(b"Usage", [elia, "--help"], runs)
        print(f"elia              first paint {elia_paint_s:.3f} s   {elia_paint_s / paint_s:.1f} times ours")
        print(f"elia --help                   {elia_help_s:.3f} s   {elia_help_s / help_s:.1f} times ours")


if __name__ == "__main__":
    main()
