"""The engine process, with real processes: one for each data folder, found, shared, ended, killed."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from assistant.client import Client, process
from assistant.client.lease import Lease
from assistant.errors import EngineUnreachable
from assistant.paths import Paths
from assistant.settings import EngineSettings, Settings
from assistant.wire import address
from tests.assistant.server.conftest import until

QUICK = EngineSettings()


@pytest.fixture
async def engines(home: Paths) -> AsyncIterator[Paths]:
    """A home where every engine that is left is ended after the test."""
    yield home
    if found := address.published(home):
        with suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGTERM)
        await until(lambda: not address.is_running(home), 10)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_it_starts_answers_and_ends_with_its_last_client(engines: Paths) -> None:
    async with Client(engines, Settings()) as first:
        await first.attach()
        async with Client(engines, Settings()) as second:
            await second.attach()
            found = address.published(engines)
            assert found is not None
        await asyncio.sleep(1.5)
        assert address.published(engines) == found
        assert await first.models() == []
    await until(lambda: not address.is_running(engines), 5)
    assert sorted(file.name for file in engines.run.iterdir()) == ["engine.lock", "engine.log"]


async def test_everything_is_private(engines: Paths) -> None:
    endpoint = await process.find_or_start(engines, QUICK)
    assert endpoint.socket is not None and endpoint.socket.is_socket()
    assert mode(engines.run) == 0o700
    assert {mode(file) for file in engines.run.iterdir()} == {0o600}


async def test_keep_alive(engines: Paths) -> None:
    async with Client(engines, Settings(engine=EngineSettings(keep_alive_s=2.5))) as client:
        await client.attach()
    await asyncio.sleep(1.8)
    assert address.is_running(engines)
    await until(lambda: not address.is_running(engines), 5)


@pytest.mark.usefixtures("engines")
async def test_clients_that_start_at_once_share_one_engine() -> None:
    script = (
        "import asyncio, sys; from assistant.client import Client; from assistant.paths import Paths;"
        "from assistant.settings import Settings; from assistant.wire import address\n"
        "async def main():\n"
        "    async with Client(Paths.from_environment(), Settings()) as client:\n"
        "        await client.attach()\n"
        "        print(address.published(Paths.from_environment()).pid, flush=True)\n"
        "        sys.stdin.read()\n"
        "asyncio.run(main())"
    )
    clients = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    pids = {client.stdout.readline() for client in clients if client.stdout}
    for client in clients:
        client.communicate("")
    assert len(pids) == 1 and pids != {""}


async def test_a_killed_client_frees_its_lease(engines: Paths) -> None:
    script = (
        "import asyncio; from assistant.client import Client; from assistant.paths import Paths;"
        "from assistant.settings import Settings\n"
        "async def main():\n"
        "    async with Client(Paths.from_environment(), Settings()) as client:\n"
        "        await client.attach(); print('attached', flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    client = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None and client.stdout.readline() == "attached\n"
    client.send_signal(signal.SIGKILL)
    client.communicate()
    await until(lambda: not address.is_running(engines), 5)


async def test_a_killed_engine_is_noticed_and_replaced(engines: Paths) -> None:
    async with Client(engines, Settings()) as client:
        await client.attach()
        killed = address.published(engines)
        assert killed is not None
        os.kill(killed.pid, signal.SIGKILL)
        await until(lambda: not client.attached)
        assert address.address_file(engines).exists()  # left over, and known to be
        assert await client.models() == []
        assert address.published(engines) not in (None, killed)


async def test_it_obeys_sigterm(engines: Paths) -> None:
    endpoint = await process.find_or_start(engines, QUICK)
    lease = await Lease.open(endpoint)
    found = address.published(engines)
    assert found is not None
    os.kill(found.pid, signal.SIGTERM)
    await until(lambda: not address.is_running(engines), 5)
    await until(lambda: not lease.alive)
    await lease.close()
    assert not address.address_file(engines).exists()


async def test_an_idle_engine_of_another_version_is_replaced(engines: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    await process.find_or_start(engines, QUICK)
    old = address.published(engines)
    monkeypatch.setattr(process, "__version__", "0.0.0+other")
    # The one that is started instead is the installed version too: then it is this program that is out of date.
    with pytest.raises(EngineUnreachable, match=r"version .* 0\.0\.0\+other.*this window"):
        await process.find_or_start(engines, QUICK)
    assert address.published(engines) not in (None, old)


async def test_an_engine_of_another_version_in_use_is_left_alone(
    engines: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(engines, Settings()) as client:
        await client.attach()
        found = address.published(engines)
        monkeypatch.setattr(process, "__version__", "0.0.0+other")
        with pytest.raises(EngineUnreachable, match=r"version .* 0\.0\.0\+other.*[Cc]lose the other windows"):
            await process.find_or_start(engines, QUICK)
        assert address.published(engines) == found


async def test_a_path_too_long_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(short := Path("/tmp")))
    deep = tmp_path / ("d" * 100)
    paths = Paths(deep / "config", deep / "data").create()
    endpoint = await process.find_or_start(paths, QUICK)
    try:
        assert endpoint.socket is not None and endpoint.socket.is_relative_to(short)
        assert mode(endpoint.socket.parent) == 0o700 and mode(endpoint.socket) == 0o600
    finally:
        found = address.published(paths)
        assert found is not None and await process.stop_idle(found)
        await until(lambda: not address.is_running(paths), 5)
    assert not endpoint.socket.exists()


async def test_where_there_are_no_unix_sockets_it_is_loopback_with_a_key(home: Paths) -> None:
    (home.run / "engine.sock").mkdir()  # in the way, so that no socket can be made there
    async with Client(home, Settings()) as client:
        await client.attach()
        found = address.published(home)
        assert found is not None and not found.socket
        assert found.url.startswith("http://127.0.0.1:") and len(found.key) > 30
        assert await client.models() == []
    await until(lambda: not address.is_running(home), 5)


async def test_the_reason_of_an_engine_that_doesn_t_start(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    home.run.joinpath("engine.log").write_text("an older line\n")
    monkeypatch.setattr(process, "asdict", lambda _: {"device": "cpu", "no_such_setting": 1})
    with pytest.raises(EngineUnreachable, match=r"did not start: .*no_such_setting"):
        await process.find_or_start(home, QUICK)


async def test_a_second_process_steps_back(engines: Paths) -> None:
    await process.find_or_start(engines, QUICK)
    command = [sys.executable, "-m", "assistant.server", "--config", str(engines.config), "--data", str(engines.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (address.ANOTHER_RUNS, "")


def test_torch_is_not_needed_to_answer() -> None:
    script = "import assistant.server.process, sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"pid": 1}), "\udcff"])
def test_a_broken_address_is_no_address(home: Paths, content: str) -> None:
    address.address_file(home).write_bytes(content.encode(errors="surrogateescape"))
    script = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print(flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(address.lock_file(home))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert address.is_running(home) and address.published(home) is None
        holder.kill()
    assert not address.is_running(home)


async def test_an_engine_that_dies_without_a_word(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    address.log_file(home).write_text("a line of an older engine\n")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineUnreachable, match="did not start: it left no reason in"):
        await process.find_or_start(home, QUICK)


async def test_no_interpreter(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(EngineUnreachable, match="/no/such/python"):
        await process.find_or_start(home, QUICK)
