"""The routes under /engine: what only the windows and commands of this data folder may ask."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant import __version__
from assistant.errors import RequestRefused
from assistant.server.api.body import Body, read
from assistant.server.leases import Leases
from assistant.server.stream import COMMENT_EVERY_S, EventStream, frames, with_comments
from assistant.server.worker import Worker
from assistant.wire import sse
from assistant.wire.chunks import ChunkWriter, Wanted
from assistant.wire.errors import ENGINE_ENDS


class LoadRequest(Body):
    model: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Control:
    """The endpoints that say how the engine is, keep it, load a model, and end it."""

    worker: Worker
    leases: Leases

    def routes(self) -> list[Route]:
        return [
            Route("/engine/status", self.status),
            Route("/engine/lease", self.lease),
            Route("/engine/load", self.load, methods=["POST"]),
            Route("/engine/stop", self.stop, methods=["POST"]),
        ]

    async def status(self, request: Request) -> Response:  # noqa: ARG002
        self._refuse_at_the_end()
        return JSONResponse(
            {
                "version": __version__,
                "pid": os.getpid(),
                "model": self.worker.model,
                "requests": self.worker.requests,
                "leases": self.leases.count,
            }
        )

    async def lease(self, request: Request) -> Response:  # noqa: ARG002
        """A stream that holds a lease for as long as it is read."""
        self._refuse_at_the_end()
        return EventStream(self._holding())

    async def load(self, request: Request) -> Response:
        model = (await read(request, LoadRequest)).model
        writer = ChunkWriter(
            "chat", request_id="load", created=int(time.time()), model=model, wanted=Wanted(events=True)
        )
        return EventStream(with_comments(frames(self.worker.stream(model, list), [], writer)))

    async def stop(self, request: Request) -> Response:  # noqa: ARG002
        self.leases.end(busy=self.worker.requests > 0)
        return JSONResponse({})

    async def _holding(self) -> AsyncGenerator[bytes]:
        with self.leases.hold():
            while True:
                yield sse.COMMENT
                await asyncio.sleep(COMMENT_EVERY_S)

    def _refuse_at_the_end(self) -> None:
        if self.leases.ended:
            raise RequestRefused("The engine is about to end. Start another.", code=ENGINE_ENDS, status=503)
