"""The routes under /engine: what only the windows and commands of this data folder may ask."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant import __version__
from assistant.engine.networks.network import Steps
from assistant.errors import RequestRefused
from assistant.server.leases import Leases
from assistant.server.openai import read
from assistant.server.schemas import LoadRequest
from assistant.server.stream import COMMENT_EVERY_S, EventStream, frames, with_comments
from assistant.server.worker import Engine, Worker
from assistant.wire import sse
from assistant.wire.chunks import ChunkWriter, Wanted
from assistant.wire.errors import ENGINE_ENDS


def routes(worker: Worker, leases: Leases) -> list[Route]:
    async def status(request: Request) -> Response:  # noqa: ARG001
        refuse_at_the_end()
        return JSONResponse(
            {
                "version": __version__,
                "pid": os.getpid(),
                "model": worker.model,
                "requests": worker.requests,
                "leases": leases.count,
            }
        )

    async def lease(request: Request) -> Response:  # noqa: ARG001
        refuse_at_the_end()
        return EventStream(holding())

    async def holding() -> AsyncGenerator[bytes]:
        with leases.hold():
            while True:
                yield sse.COMMENT
                await asyncio.sleep(COMMENT_EVERY_S)

    async def load(request: Request) -> Response:
        model = (await read(request, LoadRequest)).model
        writer = ChunkWriter(
            "chat", request_id="load", created=int(time.time()), model=model, wanted=Wanted(events=True)
        )
        return EventStream(with_comments(frames(worker.stream(model, nothing), [], writer)))

    async def stop(request: Request) -> Response:  # noqa: ARG001
        leases.end(busy=worker.requests > 0)
        return JSONResponse({})

    def refuse_at_the_end() -> None:
        if leases.ended:
            raise RequestRefused("The engine is about to end. Start another.", code=ENGINE_ENDS, status=503)

    return [
        Route("/engine/status", status),
        Route("/engine/lease", lease),
        Route("/engine/load", load, methods=["POST"]),
        Route("/engine/stop", stop, methods=["POST"]),
    ]


def nothing(engine: Engine) -> Sequence[Steps]:  # noqa: ARG001
    """The work of a request that only wants the model to be there."""
    return []
