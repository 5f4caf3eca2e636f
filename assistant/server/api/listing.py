"""What can be asked for."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.server.api.service import Service


@dataclass(frozen=True, slots=True)
class Listing:
    """The endpoints that list models and adapters."""

    service: Service

    def routes(self) -> list[Route]:
        return [Route("/v1/models", self.models), Route("/v1/adapters", self.adapters)]

    async def models(self, request: Request) -> Response:  # noqa: ARG002
        ids = await asyncio.to_thread(self.service.speakers.ids, self.service.names())
        listed = [
            {"id": id_, "object": "model", "created": 0, "owned_by": "local", "parent": model, "adapter": adapter}
            for id_, model, adapter in ids
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def adapters(self, request: Request) -> Response:  # noqa: ARG002
        listed = [{"id": name, "object": "adapter"} for name in self.service.speakers.folders.names()]
        return JSONResponse({"object": "list", "data": listed})
