"""`assistant serve`, as a process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from click.testing import CliRunner

from assistant.cli.serve import command
from assistant.client import Client
from assistant.errors import AssistantError
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.wire import address


@contextmanager
def serving(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """(process, URL) of a server that answers."""
    line = [sys.executable, "-m", "assistant", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().rpartition(" ")[2].strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("home")
def test_it_answers_until_ctrl_c() -> None:
    with serving() as (process, url):
        assert url.startswith("http://127.0.0.1:") and url.endswith("/v1")
        models = httpx.get(f"{url}/models", trust_env=False)
        assert (models.status_code, models.json()) == (200, {"object": "list", "data": []})
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.usefixtures("home")
def test_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_KEY", "sk-1")
    with serving("--host", "0.0.0.0", "--api-key-env", "SERVE_KEY") as (_, url):
        local = url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{local}/models", trust_env=False).status_code == 401
        headers = {"Authorization": "Bearer sk-1"}
        assert httpx.get(f"{local}/models", headers=headers, trust_env=False).status_code == 200


async def test_windows_share_it(home: Paths) -> None:
    with serving() as (process, _):
        async with Client(home, Settings()) as client:
            await client.attach()
            found = address.published(home)
            assert found is not None and found.pid == process.pid
        await asyncio.sleep(1.5)
        assert process.poll() is None  # it doesn't end with its last window


async def test_it_steps_back_for_windows_and_replaces_an_idle_engine(home: Paths) -> None:
    async with Client(home, Settings()) as client:
        await client.attach()
        with serving() as (process, _):
            _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 1
        assert errors.startswith("assistant: An engine runs already") and "Traceback" not in errors
    with serving() as (process, url):
        assert url.startswith("http")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_no_other_machine_without_a_key(host: str) -> None:
    result = CliRunner().invoke(command, ["--host", host])
    assert isinstance(result.exception, AssistantError)
    assert "--api-key-env" in str(result.exception)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_key_that_isn_t_there(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("SERVE_KEY", value)
    assert os.environ.get("SERVE_KEY") == value
    result = CliRunner().invoke(command, ["--api-key-env", "SERVE_KEY"])
    assert isinstance(result.exception, AssistantError)
    assert "SERVE_KEY is not set" in str(result.exception)


@pytest.mark.usefixtures("home")
def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(command, ["--port", str(taken.getsockname()[1])])
    assert isinstance(result.exception, AssistantError)
    assert "Address already in use" in str(result.exception)
