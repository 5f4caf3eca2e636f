"""Who gets in: the key, the host name that was asked for, the kind of body."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from assistant.paths import Paths
from assistant.server.app import private_app, public_app
from assistant.server.leases import Leases
from assistant.server.worker import Worker
from tests.assistant.server.conftest import NO_EMBEDDING, CountingEngine

HI = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def worker() -> Worker:
    worker = Worker(lambda *_: CountingEngine(), lambda: None)
    worker.start()
    return worker


@pytest.fixture
async def keyless(worker: Worker) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(public_app(worker, NO_EMBEDDING, lambda: ["m"], Paths(Path(), Path())))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8321") as http:
        yield http


@pytest.fixture
async def keyed(worker: Worker) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(
        public_app(worker, NO_EMBEDDING, lambda: ["m"], Paths(Path(), Path()), key="schlüssel")
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://192.0.2.7:8321") as http:
        yield http


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer x", "schlüssel", "Bearer schlüsse"])
async def test_the_key_is_insisted_on(keyed: httpx.AsyncClient, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode()}
    response = await keyed.get("/v1/models", headers=headers)  # type: ignore[arg-type]
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    headers = {"Authorization": "Bearer schlüssel".encode()}
    assert (await keyed.get("/v1/models", headers=headers)).status_code == 200  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "", "[", "localhost.evil"]
)
async def test_a_web_page_can_t_pass_off_its_own_name(keyless: httpx.AsyncClient, host: str) -> None:
    response = await keyless.get("/v1/models", headers={"Host": host})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8321", "[::1]:8321"])
async def test_this_machine_s_own_names(keyless: httpx.AsyncClient, host: str) -> None:
    assert (await keyless.get("/v1/models", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_web_page_can_t_post_without_being_asked(keyless: httpx.AsyncClient, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = await keyless.post("/v1/chat/completions", content=b'{"model": "m"}', headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "wrong_content_type")


async def test_the_public_side_has_no_paths_and_no_control(keyless: httpx.AsyncClient) -> None:
    assert (await keyless.post("/v1/chat/completions", json=HI)).status_code == 200
    response = await keyless.post("/v1/chat/completions", json={**HI, "model": "/etc"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    for path in ("/engine/status", "/engine/lease"):
        assert (await keyless.get(path)).status_code == 404


async def test_a_private_port_has_a_key(worker: Worker) -> None:
    app = private_app(worker, NO_EMBEDDING, Leases(0.0), lambda: ["m"], Paths(Path(), Path()), key="k")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9") as http:
        assert (await http.get("/engine/status")).status_code == 401
        assert (await http.get("/engine/status", headers={"Authorization": "Bearer k"})).status_code == 200
