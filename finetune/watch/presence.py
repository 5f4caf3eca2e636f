"""Whether somebody uses this machine: by keys pressed in terminals, what is said in the chat, other programs' work.

A person at a window that is no terminal is only known by the work that it makes.
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
"""Over which other programs' work is averaged: a moment of it is nobody."""
OTHERS_WORK = 0.5
"""Share of the machine's cores that other programs take when somebody uses it."""
TERMINALS = ("/dev/pts/[0-9]*", "/dev/tty[0-9]*", "/dev/ttys[0-9]*")


class Presence:
    """A thread that looks for signs of somebody, and holds a training meanwhile. Started by `watching`."""

    def __init__(self, paths: Paths, after_s: float) -> None:
        self.after_s = after_s
        """How long there must be no sign."""
        self.sign = "this was started"
        """The last one, in a few words."""
        self._paths = paths
        self._seen_s = time.time()
        self._holds: RunFolder | None = None
        self._ends = threading.Event()
        self._training: RunFolder | None = None
        self._thread = threading.Thread(target=self._watch, name="presence", daemon=True)

    @property
    def idle(self) -> bool:
        """Whether there was no sign for long enough, and somebody looks for any."""
        return self._thread.is_alive() and time.time() - self._seen_s >= self.after_s

    def hold(self, training: RunFolder) -> None:
        """From now on pause this training while somebody is here. One that a person paused stays so."""
        self._training = training

    def start(self) -> Self:
        self._thread.start()
        return self

    def end(self) -> None:
        """Stop looking; what is paused goes on or has ended."""
        self._ends.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        _others_work(own)  # from now on
        measured_s = time.monotonic()
        try:
            with closing(open_database(self._paths.database)) as db, _keys() as pressed:
                while not self._ends.wait(LOOK_S):
                    self._look(db, pressed)
                    if time.monotonic() - measured_s >= LOAD_S:
                        measured_s = time.monotonic()
                        if _others_work(own) > OTHERS_WORK:
                            self._note(time.time(), "other programs are at work")
                    self._hold()
        finally:
            self._release()

    def _look(self, db: Database, pressed: Callable[[], bool]) -> None:
        self._note(_typed_s(), "a key was pressed in a terminal")
        if pressed():
            self._note(time.time(), "a key was pressed here")
        with suppress(AssistantError):  # a log that is written to just now is looked at the next time
            self._note(last_touched_ms(db) / 1000, "something was said in the chat")
        if asyncio.run(requests(self._paths)):
            self._note(time.time(), "the engine makes a reply")

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
def watching(paths: Paths, after_s: float) -> Iterator[Presence]:
    """Look for signs inside the block."""
    presence = Presence(paths, after_s).start()
    try:
        yield presence
    finally:
        presence.end()


def _others_work(own: psutil.Process) -> float:
    """Share of all cores that other programs took since this was asked last."""
    return (psutil.cpu_percent() - own.cpu_percent() / (psutil.cpu_count() or 1)) / 100


def _typed_s() -> float:
    """When a program last read a key from a terminal of this user, as `w` tells it; to eight seconds on Linux."""
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
    """Whether a key was pressed in our own terminal since this was asked last. Ctrl-C stays what it is."""
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
