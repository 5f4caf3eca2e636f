"""A training that gives way to whoever is at the machine: by the log, by terminals, by a key in its own."""

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.client import Client
from assistant.client.process import requests
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models.catalogue import DEFAULT
from assistant.events import Token
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store.redaction.redactor import Redactor
from assistant.store.training import adapters, datasets, runs
from assistant.wire import address
from finetune.progress import Paused, Progress, Stepped
from finetune.run_folder import PAUSE, RunFolder
from finetune.watch import activity
from finetune.watch.activity import watching
from finetune.watch.when_idle import Wanted, train_when_idle
from prompts.message import Message
from tests.assistant.store.judgements.test_curation import ask
from tests.finetune.conftest import TINY
from tests.finetune.watch.test_status import PLAIN, no_template, talk

IDLE_S = 2.0


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own terminals and programs are none of these tests."""
    monkeypatch.setattr(activity, "TERMINALS", ())
    monkeypatch.setattr(activity, "OTHERS_WORK", 9.0)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.05)


def test_somebody_is_told_by_the_log_and_by_terminals(
    db: Database, home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = tmp_path / "pts0"
    terminal.touch()
    os.utime(terminal, (time.time() - 60, time.time()))
    monkeypatch.setattr(activity, "TERMINALS", (str(tmp_path / "pts[0-9]"),))
    folder = RunFolder(home, "a-run").create()
    with watching(home, IDLE_S) as here:
        here.hold(folder)
        until(lambda: folder.wanted == PAUSE)
        until(lambda: here.idle and not folder.wanted)
        ask(db, "are you there?", "yes")
        until(lambda: folder.wanted == PAUSE)
        assert "chat" in here.sign
        until(lambda: here.idle and not folder.wanted)
        os.utime(terminal)
        until(lambda: folder.wanted == PAUSE)
        assert "terminal" in here.sign
        until(lambda: here.idle and not folder.wanted)
        folder.want(PAUSE)  # by the person, in the Train screen
        time.sleep(2 * activity.LOOK_S)
        assert here.idle and folder.wanted == PAUSE
    assert folder.wanted == PAUSE


def test_what_is_held_is_let_go_at_the_end(home: Paths, db: Database) -> None:  # noqa: ARG001  a log to look at
    folder = RunFolder(home, "a-run").create()
    with watching(home, 60) as here:
        here.hold(folder)
        until(lambda: folder.wanted == PAUSE)
    assert folder.wanted == ""


def test_a_training_begins_pauses_and_goes_on_by_itself(db: Database, home: Paths) -> None:
    talk(db, 30, PLAIN, 0)
    heard: list[Progress] = []
    told: list[str] = []

    def say(one: Progress) -> None:
        heard.append(one)
        if isinstance(one, Stepped) and one.step == 1:
            ask(db, "hello?", "hello")
            until(lambda: RunFolder(home, "mine-1").wanted == PAUSE)

    wanted = Wanted(TINY, "mine", None, 0.02, IDLE_S / 60)
    done = train_when_idle(db, home, wanted, no_template, lambda: Redactor(db), told.append, say)
    assert done is not None and done.state == "finished" and done.adapter_hash
    assert told[0].startswith("Waiting for") and "minutes without activity" in told[0] and "mine is made" in told[-2]
    assert told[-1].endswith("`finetune eval mine-1`, then `finetune promote mine-1`.")
    paused = [place for place, one in enumerate(heard) if isinstance(one, Paused)]
    assert len(paused) == 1 and isinstance(heard[paused[0] + 1], Stepped)
    assert adapters.in_use(db, TINY) is None and not runs.evaluation(db, done.id)
    assert datasets.get(db, "mine").source["file"] == ""


@pytest.mark.slow
async def test_a_reply_in_the_making_is_somebody(real_home: Paths) -> None:
    assert await requests(real_home) == 0  # and no engine was started to tell
    assert not address.is_running(real_home)
    async with Client(real_home, Settings()) as client:
        asked = client.chat(DEFAULT, [Message("user", "Count to a hundred.")], Sampling(max_tokens=400))
        async with aclosing(asked) as events:
            while not isinstance(await anext(events), Token):
                pass
            assert await requests(real_home) == 1
    async with asyncio.timeout(30):
        while address.is_running(real_home):
            await asyncio.sleep(0.1)


SCRIPT = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from functools import partial
from finetune.watch import activity, when_idle
when_idle.TrainConfig = partial(when_idle.TrainConfig, steps=100_000)  # else it is over before anybody comes
activity.TERMINALS, activity.OTHERS_WORK = (), 9.0
from assistant.cli.group import run
from finetune.cli.group import top
raise SystemExit(run({arguments!r}, top, "finetune"))
"""


def test_a_key_in_its_own_terminal_pauses_it_and_ctrl_c_stops_it(db: Database, home: Paths) -> None:  # noqa: ARG001
    talk(db, 30, PLAIN, 0)
    arguments = ["status", TINY, "--no-drift", "--train-when-idle", "--budget", "2", "--idle-after", "0.05"]
    main, own = pty.openpty()
    script = SCRIPT.format(arguments=arguments)
    child = subprocess.Popen([sys.executable, "-c", script], stdin=own, stdout=own, stderr=own, start_new_session=True)
    os.close(own)
    said = ""

    def heard(text: str) -> bool:
        nonlocal said
        if select.select([main], [], [], 0)[0]:
            said += os.read(main, 65536).decode(errors="replace")
        return text in said

    try:
        until(lambda: heard("step "), 60)
        os.write(main, b"x")
        until(lambda: heard("Paused at step"), 60)
        said = ""
        until(lambda: heard("step "), 60)
        os.write(main, b"\x03")
        until(lambda: heard("Stopped at step"), 60)
    finally:
        child.kill()
        child.wait()
        os.close(main)
