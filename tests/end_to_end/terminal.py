"""The whole program in a terminal: a pseudo-terminal to kill it in, tmux to press real keys and read the screen."""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = [sys.executable, "-m", "assistant"]


class Terminal:
    """The program in a pseudo-terminal of 80x24. What it writes is collected, not drawn."""

    def __init__(self, home: Path) -> None:
        self.output = b""
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.environ.update(ASSISTANT_HOME=str(home), TERM="xterm-256color")
            os.execv(PROGRAM[0], PROGRAM)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def read(self, for_s: float) -> None:
        """Collect what it writes within `for_s`, so that it never waits for us."""
        until = time.monotonic() + for_s
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._file], [], [], left)[0]:
                return
            try:
                self.output += os.read(self._file, 65536)
            except OSError:
                return

    def wait_for(self, text: str, timeout_s: float = 20) -> None:
        """Return once `text` was written."""
        until = time.monotonic() + timeout_s
        while text.encode() not in self.output:
            assert time.monotonic() < until, f"{text!r} never came; the end of the output: {self.output[-2000:]!r}"
            self.read(0.05)

    def type(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def kill(self) -> None:
        """As a power cut would: no chance to tidy up."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._file)


class Tmux:
    """A command in a tmux of its own. The screen is what a person would see."""

    def __init__(self, command: str, *, columns: int = 100, rows: int = 30) -> None:
        self._folder = tempfile.mkdtemp(prefix="tmux-")
        self._socket = ["tmux", "-S", str(Path(self._folder) / "s"), "-f", "/dev/null"]
        self._call("new-session", "-d", "-s", "0", "-x", str(columns), "-y", str(rows), command)
        self._call("set-option", "-g", "remain-on-exit", "on")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call("kill-server")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _call(self, *words: str) -> str:
        return subprocess.run([*self._socket, *words], capture_output=True, text=True, check=True).stdout

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: `Enter`, `Escape`, `C-j`, `F1`; anything else is typed."""
        self._call("send-keys", "-t", "0", *keys)

    def paste(self, text: str) -> None:
        """A bracketed paste, as a terminal does it."""
        file = Path(self._folder) / "paste"
        file.write_text(text, encoding="utf-8")
        self._call("load-buffer", str(file))
        self._call("paste-buffer", "-p", "-t", "0")

    @property
    def screen(self) -> str:
        return self._call("capture-pane", "-p", "-t", "0")

    def wait_for(self, *texts: str, gone: str = "", timeout_s: float = 30) -> str:
        """The screen, once all of `texts` are on it and `gone` is not."""
        until = time.monotonic() + timeout_s
        while True:
            screen = self.screen
            if all(text in screen for text in texts) and (not gone or gone not in screen):
                return screen
            assert time.monotonic() < until, f"waited for {texts}, without {gone!r}; the screen is:\n{screen}"
            time.sleep(0.05)

    def wait_for_end(self, timeout_s: float = 20) -> None:
        """Return once the command has ended."""
        until = time.monotonic() + timeout_s
        while self._call("display-message", "-p", "#{pane_dead}").strip() != "1":
            assert time.monotonic() < until, f"it did not end; the screen is:\n{self.screen}"
            time.sleep(0.05)
