"""The engine process of a data folder, found or started. Several programs may do so at once: its lock decides."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assistant import __version__
from assistant.client.http import Endpoint, call, connect
from assistant.errors import AssistantError, EngineDied, EngineUnreachable
from assistant.paths import Paths
from assistant.safe_text import shorten
from assistant.settings import EngineSettings
from assistant.wire import address
from assistant.wire.address import Address

START_S = 60.0
"""How long an engine may take until it answers. It does so before it imports torch: well under a second is usual."""

STATUS_S = 10.0
"""How long an engine may take to say how it is. It answers at once, but for the moments when a library is imported."""

POLL_S = 0.02
"""How often its address is looked for."""


async def find_or_start(paths: Paths, settings: EngineSettings) -> Endpoint:
    """Where the one engine process of this data folder answers.

    Raises `EngineUnreachable` with the last line of its log where it doesn't start.
    """
    try:
        return await _find_or_start(paths.create(), settings)
    except OSError as error:
        raise EngineUnreachable(f"The engine process can't be started: {error}. Is {paths.run} writable?") from error


async def _find_or_start(paths: Paths, settings: EngineSettings) -> Endpoint:
    deadline_s, log = time.monotonic() + START_S, address.log_file(paths)
    child: subprocess.Popen[bytes] | None = None
    logged_bytes = 0
    while time.monotonic() < deadline_s:
        found = address.published(paths)
        if found is not None and await _answers(found, ours=child is not None and child.pid == found.pid):
            return _endpoint(found)
        if child is not None and child.poll() is not None:
            if child.returncode != address.ANOTHER_RUNS:
                raise EngineUnreachable(f"The engine process did not start: {_last_words(log, logged_bytes)}")
            child = None
        if child is None and not address.is_running(paths):
            logged_bytes = log.stat().st_size if log.exists() else 0
            child = _start(paths, settings)
        await asyncio.sleep(POLL_S)
    raise EngineUnreachable(f"The engine process did not answer within {START_S:.0f} s. Its log is {log}.")


async def stop_idle(found: Address) -> bool:
    """Ask the engine to end, which it does unless another client holds it or it is at work."""
    endpoint = _endpoint(found)
    async with connect(endpoint) as http:
        try:
            await call(http, "POST", "/engine/stop", endpoint)
        except (EngineUnreachable, EngineDied):
            return True
        except AssistantError:
            return False
    return True


async def requests(paths: Paths) -> int:
    """How many requests for replies the engine of this data folder has. 0 where none lives: none is started."""
    found = address.published(paths)
    if found is None:
        return 0
    endpoint = _endpoint(found)
    try:
        async with connect(endpoint, silence_s=STATUS_S) as http:
            status: dict[str, Any] = await call(http, "GET", "/engine/status", endpoint)
    except AssistantError:
        return 0
    return int(status.get("requests", 0))


def _last_words(log: Path, after_bytes: int) -> str:
    """The last line that was written to the log since it had that length."""
    with log.open("rb") as file:
        file.seek(after_bytes)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return shorten(lines[-1], 300) if lines else f"it left no reason in {log}."


async def _answers(found: Address, *, ours: bool) -> bool:
    """Whether the engine answers and is of this version. One of another version that is idle is ended.

    Raises `EngineUnreachable` where it is in use, or where it was just started by us (`ours`): then it is this
    program that is of another version than what is installed.
    """
    endpoint = _endpoint(found)
    try:
        async with connect(endpoint, silence_s=STATUS_S) as http:
            status: dict[str, Any] = await call(http, "GET", "/engine/status", endpoint)
    except (EngineUnreachable, EngineDied):
        return False  # about to end: the lock will be free in a moment
    if status.get("version") == __version__:
        return True
    if ours or not await stop_idle(found):
        close = "Close this window and open it again" if ours else "Close the other windows of the assistant"
        raise EngineUnreachable(
            f"The engine is of version {status.get('version')}, this program of version {__version__}. {close}."
        )
    return False


def _endpoint(found: Address) -> Endpoint:
    return Endpoint(found.url, Path(found.socket) if found.socket else None, found.key or None, own=True)


def _start(paths: Paths, settings: EngineSettings) -> "subprocess.Popen[bytes]":
    """A new engine process, on its own: it stays when this program ends, and Ctrl-C doesn't reach it."""
    # -P keeps the folder the user happens to be in off the import path.
    arguments = ["--config", str(paths.config), "--data", str(paths.data), "--settings", json.dumps(asdict(settings))]
    command = [sys.executable, "-P", "-m", "assistant.server", *arguments]
    log = os.open(address.log_file(paths), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=paths.data, start_new_session=True
        )
    finally:
        os.close(log)
    # Waited for, so that an engine that ends before this program does leaves no zombie behind.
    threading.Thread(target=child.wait, name="engine-process", daemon=True).start()
    return child
