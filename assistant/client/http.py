"""One request to an OpenAI-compatible server: errors become ours, streams become JSON values."""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from assistant.errors import AssistantError, EngineDied, EngineUnreachable, RequestRefused
from assistant.wire.errors import BadAnswer, error_from
from assistant.wire.sse import Unframe

SILENCE_S = 120.0
"""Our engine says something every few seconds; after this long without a byte it hangs."""

REMOTE_SILENCE_S = 600.0
"""Other servers are silent while they load a model or read a long prompt. OpenAI's own client waits as long."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server answers. `url` is what comes before `/chat/completions`."""

    url: str
    socket: Path | None = None
    """A Unix socket to connect to, in place of the host in `url`."""
    key: str | None = None
    own: bool = False
    """Whether it is our own engine process, which is started again when it is gone."""

    @property
    def name(self) -> str:
        """Who answers there, at the start of a sentence."""
        return "The engine process" if self.own else f"The server at {self.url}"


def connect(endpoint: Endpoint, *, silence_s: float = SILENCE_S) -> httpx.AsyncClient:
    """A client of `endpoint`. Proxies of the environment serve only servers elsewhere."""
    headers = {b"Authorization": f"Bearer {endpoint.key}".encode()} if endpoint.key else {}
    timeout = httpx.Timeout(silence_s, connect=10.0)
    limits = httpx.Limits(keepalive_expiry=2.0)  # sooner than servers close: uvicorn after 5 s
    if endpoint.socket:
        # No TLS on a socket: reading the system's certificates would take longer than the first answer.
        transport = httpx.AsyncHTTPTransport(uds=str(endpoint.socket), verify=False, limits=limits)
        return httpx.AsyncClient(
            base_url=endpoint.url, transport=transport, headers=headers, timeout=timeout, trust_env=False
        )
    try:
        host = httpx.URL(endpoint.url).host
        return httpx.AsyncClient(
            base_url=endpoint.url,
            headers=headers,
            timeout=timeout,
            limits=limits,
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),
        )
    except (httpx.InvalidURL, ValueError) as error:
        raise EngineUnreachable(f"{endpoint.url!r} is no usable address: {error}.") from error


async def call(http: httpx.AsyncClient, method: str, path: str, endpoint: Endpoint, body: Any = None) -> Any:
    """The JSON answer of a request, however long it takes. Raises like `stream`."""
    try:
        response = await http.request(method, path, json=body, timeout=None)
    except httpx.HTTPError as error:
        raise unanswered(error, endpoint, begun=False) from error
    if not response.is_success:
        raise refused(response.content, response.status_code)
    try:
        return response.json()
    except ValueError as error:
        raise unanswered(BadAnswer("an answer that is no JSON"), endpoint, begun=False) from error


async def stream(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Any], endpoint: Endpoint
) -> AsyncGenerator[Any]:
    """The JSON values of a streamed POST, one by one. Closing the iterator closes the connection: the server stops.

    Raises `EngineUnreachable` (no connection), `EngineDied` (it broke off), or what the server's error stands for.
    """
    unframe, begun = Unframe(), False
    request = http.stream("POST", path, content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    try:
        async with request as response:
            if not response.is_success:
                raise refused(await response.aread(), response.status_code)
            async for piece in response.aiter_bytes():
                begun = True
                for value in unframe.feed(piece):
                    yield value
                if unframe.done:
                    return
        for value in unframe.end():
            yield value
    except (httpx.HTTPError, BadAnswer) as error:
        raise unanswered(error, endpoint, begun=begun) from error


def refused(content: bytes, status: int) -> AssistantError:
    """What an answer with an error status stands for."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = content[:600].decode(errors="replace")
    if status in (401, 403):
        told = str(error_from(body, status))
        return RequestRefused(
            f"The server refused the key (HTTP {status}): {told} Check the key and where it comes from.",
            code="invalid_api_key",
            status=status,
        )
    return error_from(body, status)


def unanswered(error: Exception, endpoint: Endpoint, *, begun: bool) -> AssistantError:
    """The sentence for an answer that did not come, or broke off after it had `begun`."""
    who, then = endpoint.name, "The next message starts it again." if endpoint.own else "Ask again."
    if isinstance(error, BadAnswer):
        return RequestRefused(f"{who} sent {error}." + ("" if endpoint.own else " Is it an OpenAI-compatible server?"))
    what = "silence for too long" if isinstance(error, httpx.TimeoutException) else str(error).rstrip(".")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        do = then if endpoint.own else "Is it running, is the address right?"
        return EngineUnreachable(f"{who} can't be reached: {what}. {do}")
    when = "in the middle of the answer" if begun else "before it answered"
    return EngineDied(f"{who} went away {when}: {what or type(error).__name__}. {then}")
