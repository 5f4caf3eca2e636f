"""An open stream to the engine process: as long as one is open, the engine stays."""

import asyncio
from contextlib import suppress
from typing import Self

import httpx

from assistant.client.http import Endpoint, connect, refused, unanswered


class Lease:
    """One client's hold on the engine at `endpoint`, and the connections to ask it over."""

    def __init__(self, endpoint: Endpoint, http: httpx.AsyncClient, stream: httpx.Response) -> None:
        self.endpoint = endpoint
        self.http = http
        self._stream = stream
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Self:
        """Raises `EngineUnreachable` or `EngineDied` where no engine answers there (any more)."""
        http = connect(endpoint)
        try:
            stream = await http.send(http.build_request("GET", "/engine/lease"), stream=True)
            if not stream.is_success:
                raise refused(await stream.aread(), stream.status_code)
        except httpx.HTTPError as error:
            await http.aclose()
            raise unanswered(error, endpoint, begun=False) from error
        except BaseException:
            await http.aclose()
            raise
        return cls(endpoint, http, stream)

    @property
    def alive(self) -> bool:
        """False once the engine has gone."""
        return not self._listening.done()

    async def close(self) -> None:
        """Give it back."""
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening
        await self._stream.aclose()
        await self.http.aclose()

    async def _listen(self) -> None:
        with suppress(httpx.HTTPError):
            async for _ in self._stream.aiter_raw():
                pass
