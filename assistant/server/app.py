"""The applications: a private one for this user's programs, and one for a port that others can reach."""

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from assistant.adapters.speakers import Folders, Speakers
from assistant.errors import AssistantError, ModelUnknown
from assistant.paths import Paths
from assistant.server.api.control import Control
from assistant.server.api.listing import Listing
from assistant.server.api.replies import Replies
from assistant.server.api.service import Names, Service
from assistant.server.api.texts import Texts
from assistant.server.embedding import Embedding
from assistant.server.leases import Leases
from assistant.server.worker import Worker, sentence
from assistant.wire.errors import error_body, refusal

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def private_app(
    worker: Worker, embedding: Embedding, leases: Leases, names: Names, paths: Paths, *, key: str = ""
) -> ASGIApp:
    """All routes. With a `key` for where it listens on a port, without on a socket that only its owner can open."""
    speakers = Speakers(paths.database, Folders(paths.adapters, paths=True))
    service = Service(worker, embedding, names, lambda _: None, speakers)
    return Gate(_application([*_openai(service), *Control(worker, leases).routes()]), key=key)


def public_app(worker: Worker, embedding: Embedding, names: Names, paths: Paths, *, key: str = "") -> ASGIApp:
    """The OpenAI API, and no model but those that are listed: a path would let strangers look around on this disk."""

    def check(model: str) -> None:
        if model not in (known := names()):
            raise ModelUnknown(f"There is no model {model!r} here. There are: {', '.join(known) or 'none'}.")

    service = Service(worker, embedding, names, check, Speakers(paths.database, Folders(paths.adapters)))
    return Gate(_application(_openai(service)), key=key, hosts=() if key else LOOPBACK)


def _openai(service: Service) -> list[Route]:
    return [*Replies(service).routes(), *Texts(service).routes(), *Listing(service).routes()]


class Gate:
    """Turns away who hasn't the key, and web pages that make a browser ask a server on its own machine.

    Without a key: only requests that name one of `hosts` get in (a page can give its own name our address), and none
    with a body that isn't JSON (a page can send any other without being asked).
    """

    def __init__(self, app: ASGIApp, *, key: str = "", hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._key = key
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refused(scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._key:
            given = headers.get("authorization", "").encode("latin-1")  # as the bytes came
            if not hmac.compare_digest(given, f"Bearer {self._key}".encode()):
                return _error(
                    401, "The key is missing or wrong. Send it as `Authorization: Bearer …`.", "invalid_api_key"
                )
        if self._hosts and _host(headers) not in self._hosts:
            return _error(403, f"This server answers only to the names {', '.join(self._hosts)}.", "wrong_host")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json" and headers.get("content-length") != "0":
            return _error(415, "Send JSON, with `Content-Type: application/json`.", "wrong_content_type")
        return None


def _host(headers: Headers) -> str:
    """The name a request was sent to, without the port."""
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _application(routes: Sequence[Route]) -> Starlette:
    return Starlette(
        routes=routes,
        exception_handlers={
            AssistantError: _expected,
            HTTPException: _http,
            ClientDisconnect: _nobody,
            Exception: _unexpected,
        },
    )


async def _expected(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, AssistantError)
    status, body = refusal(error)
    return JSONResponse(body, status)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = ", ".join(route.path for route in request.app.routes)
    said = f"{request.method} {request.url.path}: {error.detail}. There are {known}."
    return _error(error.status_code, said, "not_found")


async def _nobody(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return Response(status_code=499)  # nobody is there to read it


async def _unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return JSONResponse(refusal(sentence(error))[1], 500)


def _error(status: int, message: str, code: str) -> Response:
    return JSONResponse(error_body(message, code=code), status)
