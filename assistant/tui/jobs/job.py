"""A long command of `finetune` that outlives the window that began it, and is found again by the next one.

It writes into a file which it holds a lock on as long as it lives: the lock was taken before it began, and belongs to
the open file that it has as its output. So nothing has to be tidied up after a kill, and no process id is trusted.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from assistant.errors import TrainingError, TrainingRefused
from assistant.paths import Paths
from assistant.safe_text import shorten

LONGEST_REASON_CELLS = 400


def command(arguments: Sequence[str]) -> list[str]:
    """The whole command line of one command of `finetune`."""
    return [sys.executable, "-P", "-m", "finetune", *arguments]  # -P: not the folder that the user happens to be in


def environment(paths: Paths) -> dict[str, str]:
    """Our own, with the folders of this window. Output comes line by line."""
    home = {} if paths == Paths.from_environment() else {"ASSISTANT_HOME": str(paths.data.parent.absolute())}
    return {**os.environ, **home, "PYTHONUNBUFFERED": "1"}


def reason(errors: str, code: int | None) -> str:
    """What a command said of its failure, in its own sentence."""
    if code == -signal.SIGTERM:
        return "It was stopped."
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if not lines:
        return "It ended without a word" + (f" (signal {-code})." if code is not None and code < 0 else ".")
    said = next((line for line in reversed(lines) if line.startswith(("finetune: ", "Error: "))), lines[-1])
    return shorten(said.removeprefix("finetune: ").removeprefix("Error: "), LONGEST_REASON_CELLS)


def result(output: str) -> dict[str, object] | None:
    """The JSON object at the end of an output, after its lines of progress; None where there is none."""
    decoder, found, at = json.JSONDecoder(), None, 0
    while (at := output.find("{", at)) >= 0:
        try:
            found, at = decoder.raw_decode(output, at)
        except ValueError:
            at += 1
    return found if isinstance(found, dict) and "event" not in found else None


@dataclass(slots=True)
class Job:
    """One kind of command, of which one can run at a time, such as `train`."""

    paths: Paths
    name: str
    _child: "subprocess.Popen[bytes] | None" = None

    @property
    def output_file(self) -> Path:
        return self.paths.run / f"{self.name}.out"

    @property
    def _errors_file(self) -> Path:
        return self.paths.run / f"{self.name}.err"

    @property
    def _told_file(self) -> Path:
        return self.paths.run / f"{self.name}.json"

    def start(self, arguments: Sequence[str]) -> None:
        """Begin. Raises `TrainingRefused` while another one runs, `TrainingError` where it can't be started."""
        try:
            with _private(self.output_file, "ab") as output, _private(self._errors_file, "wb") as errors:
                if not _lock(output.fileno()):
                    raise TrainingRefused(f"`finetune {self.name}` is at work already. Wait for its end, or stop it.")
                output.truncate(0)
                self._child = subprocess.Popen(
                    command(arguments),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=environment(self.paths),
                    cwd=self.paths.data,
                    start_new_session=True,  # what ends the terminal doesn't end it
                )
            # Waited for, so that one that ends before this program does leaves no zombie behind.
            threading.Thread(target=self._child.wait, name=f"finetune-{self.name}", daemon=True).start()
            with _private(self._told_file, "wb") as told:
                told.write(json.dumps({"arguments": list(arguments), "pid": self._child.pid}).encode())
        except OSError as error:
            raise TrainingError(f"`finetune {self.name}` can't be started: {error}.") from error

    @property
    def is_running(self) -> bool:
        """Whether one is at work, whoever began it."""
        if self._child is not None and self._child.poll() is None:
            return True
        try:
            with self.output_file.open("rb") as output:
                return not _lock(output.fileno())
        except OSError:
            return False

    @property
    def arguments(self) -> list[str]:
        """What the last one was begun with; none where there was none."""
        return [str(one) for one in self._told().get("arguments", ())]

    def _told(self) -> dict[str, Any]:
        try:
            told = json.loads(self._told_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def stop(self) -> None:
        """Ask it to end in good order."""
        pid = self._told().get("pid")
        if self.is_running and isinstance(pid, int):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    @property
    def size(self) -> int:
        """Bytes of output so far."""
        return self.output_file.stat().st_size if self.output_file.exists() else 0

    def output(self, offset: int = 0) -> tuple[str, int]:
        """What was said since byte `offset`, whole lines only, and the offset after that."""
        try:
            with self.output_file.open("rb") as file:
                file.seek(offset)
                said = file.read()
        except OSError:
            return "", offset
        whole = said[: said.rfind(b"\n") + 1]
        return whole.decode(errors="replace"), offset + len(whole)

    @property
    def failure(self) -> str:
        """Why it ended, in its own sentence; empty while it runs and where it ended well."""
        if self.is_running or not self.output_file.exists() or result(self.output()[0]) is not None:
            return ""
        try:
            errors = self._errors_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            errors = ""
        return reason(errors, self._child.returncode if self._child else None)


def _private(file: Path, mode: Literal["ab", "wb"]) -> IO[bytes]:
    """Opened for writing, and for this user alone."""
    return open(file, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def _lock(descriptor: int) -> bool:
    """Whether the lock was free; it is ours until the file is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
