"""Detect user activity: keys pressed in terminals, messages in the chat, CPU use of other programs.

Activity in a window that is no terminal is noticed only by its CPU use.
"""

import asyncio
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil
from sqlite_utils import Database

from assistant.client.process import requests
from assistant.errors import AssistantError
from assistant.paths import Paths
from assistant.store.database import open_database
from assistant.store.messages import last_touched_ms
from finetune.run_folder import PAUSE, RunFolder

LOOK_S = 1.0
LOAD_S = 10.0
"""Seconds over which other programs' CPU use is averaged: short peaks don't count."""
OTHERS_WORK = 0.5
"""Share of the machine's cores used by other programs that counts as activity."""
TERMINALS = ("/dev/pts/[0-9]*", "/dev/tty[0-9]*", "/dev/ttys[0-9]*")


class Activity:
    """A thread that looks for activity and pauses a training meanwhile. Started by `watching`."""

    def __init__(self, paths: Paths, after_s: float) -> None:
        self.after_s = after_s
        """Seconds without activity after which the machine is idle."""
        self.sign = "this was started"
        """The last activity, in a few words."""
        self._paths = paths
        self._seen_s = time.time()
        self._holds: RunFolder | None = None
        self._ends = threading.Event()
        self._training: RunFolder | None = None
        self._thread = threading.Thread(target=self._watch, name="activity", daemon=True)

    @property
    def idle(self) -> bool:
        """Whether there was no activity for `after_s`, and the thread is running."""
        return self._thread.is_alive() and time.time() - self._seen_s >= self.after_s

    def hold(self, training: RunFolder) -> None:
        """Pause this training during activity. A training paused by a person stays paused."""
        self._training = training

    def start(self) -> Self:
        self._thread.start()
        return self

    def end(self) -> None:
        """Stop watching; a training paused by this thread is resumed."""
        self._ends.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        _others_work(own)  # starts the measurement
        measured_s = time.monotonic()
        try:
            with closing(open_database(self._paths.database)) as db, _keys() as pressed:
                while not self._ends.wait(LOOK_S):
                    self._look(db, pressed)
                    if time.monotonic() - measured_s >= LOAD_S:
                        measured_s = time.monotonic()
                        if _others_work(own) > OTHERS_WORK:
                            self._note(time.time(), "other programs are busy")
                    self._hold()
        finally:
            self._release()

    def _look(self, db: Database, pressed: Callable[[], bool]) -> None:
        self._note(_typed_s(), "a key was pressed in a terminal")
        if pressed():
            self._note(time.time(), "a key was pressed here")
        with suppress(AssistantError):  # a log that is locked is read the next time
            self._note(last_touched_ms(db) / 1000, "something was said in the chat")
        if asyncio.run(requests(self._paths)):
            self._note(time.time(), "the engine is generating a reply")

    def _note(self, at_s: float, sign: str) -> None:
        if at_s > self._seen_s:
            self._seen_s, self.sign = at_s, sign

    def _hold(self) -> None:
        training = self._training
        if training is not None and not self.idle and not training.wanted:
            training.want(PAUSE)
            self._holds = training
        elif self.idle:
            self._release()

    def _release(self) -> None:
        if self._holds is not None and self._holds.wanted == PAUSE:
            self._holds.want("")
        self._holds = None


@contextmanager
def watching(paths: Paths, after_s: float) -> Iterator[Activity]:
    """Watch for activity within the block."""
    activity = Activity(paths, after_s).start()
    try:
        yield activity
    finally:
        activity.end()


def _others_work(own: psutil.Process) -> float:
    """Share of all cores that other programs used since the last call."""
    return (psutil.cpu_percent() - own.cpu_percent() / (psutil.cpu_count() or 1)) / 100


def _typed_s() -> float:
    """Time of the last key that a program read from this user's terminals, as `w` shows it; within 8 s on Linux."""
    newest = 0.0
    for pattern in TERMINALS:
        for terminal in Path("/").glob(pattern.removeprefix("/")):
            with suppress(OSError):
                about = terminal.stat()
                if about.st_uid == os.getuid():
                    newest = max(newest, about.st_atime)
    return newest


@contextmanager
def _keys() -> Iterator[Callable[[], bool]]:
    """A function that returns whether a key was pressed in this terminal since the last call. Ctrl-C still works."""
    try:
        own = sys.stdin.fileno()
        before = termios.tcgetattr(own)
        foreground = os.tcgetpgrp(own) == os.getpgrp()
    except (OSError, ValueError, termios.error):
        foreground = False
    if not foreground:
        yield lambda: False
        return

    def pressed() -> bool:
        ready = bool(select.select([own], [], [], 0)[0])
        return ready and bool(os.read(own, 1024))

    tty.setcbreak(own)
    try:
        yield pressed
    finally:
        termios.tcsetattr(own, termios.TCSADRAIN, before)
