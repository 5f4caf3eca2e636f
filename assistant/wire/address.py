"""Where the engine process of a data folder answers, and the lock that says whether one lives.

    run/engine.lock   locked (flock) by the engine as long as it lives: one engine for each data folder
    run/engine.json   its address, put there when it answers
    run/engine.log    what it wrote to stderr

The lock alone tells the truth: an address may be left over from an engine that was killed.
"""

import json
import os
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.locks import held
from assistant.paths import Paths

URL = "http://engine"
"""The base of requests on a Unix socket, where no host has a name."""

ANOTHER_RUNS = 3
"""Exit code of an engine process that found the lock taken."""


@dataclass(frozen=True, slots=True)
class Address:
    """A Unix socket, or where there can be none a loopback URL with the key it asks for."""

    pid: int
    version: str
    url: str = URL
    socket: str = ""
    key: str = ""


def lock_file(paths: Paths) -> Path:
    return paths.run / "engine.lock"


def log_file(paths: Paths) -> Path:
    return paths.run / "engine.log"


def address_file(paths: Paths) -> Path:
    return paths.run / "engine.json"


def publish(paths: Paths, address: Address) -> None:
    """Put the address where clients look, whole or not at all."""
    temporary = address_file(paths).with_suffix(f".{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(asdict(address)), encoding="utf-8")
    temporary.replace(address_file(paths))


def withdraw(paths: Paths) -> None:
    """Take the address away."""
    address_file(paths).unlink(missing_ok=True)


def published(paths: Paths) -> Address | None:
    """The address of the engine that lives, None where none does or it doesn't answer yet."""
    if not is_running(paths):
        return None
    try:
        return Address(**json.loads(address_file(paths).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_running(paths: Paths) -> bool:
    """Whether an engine process holds the lock."""
    with locked(paths, shared=True) as free:
        return not free


def locked(paths: Paths, *, shared: bool = False) -> AbstractContextManager[bool]:
    """Hold the engine's lock inside the block, or only ask with a `shared` one. False where another process has it."""
    return held(lock_file(paths), shared=shared)
