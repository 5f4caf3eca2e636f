"""A scripted engine server: the real wire format over a real socket, with the model left out.

    with FakeEngine() as engine:
        engine.enqueue(Reply(["Hel", "lo."]), Fail("Out of memory.", code="out_of_memory"), Die(after=2))
        async with Client(paths, settings, engine=engine.endpoint) as client: ...
        assert engine.requests[0]["messages"][-1]["content"] == "Hi"

Each chat request takes the next script; without one it is answered with `Reply()`.
`FakeEngine(plain=True, key="k")` is another vendor's server: a loopback port, no extensions, a key that it insists on.
"""

import asyncio
import json
import re
import tempfile
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from assistant.client import Endpoint
from assistant.events import Event, Finished, FinishReason, Loading, Prefilled, Timing, Token, Usage
from assistant.wire import sse
from assistant.wire.chunks import ChunkWriter, Wanted
from assistant.wire.errors import error_body


@dataclass(frozen=True)
class Reply:
    """An answer in `pieces`, one token each (a text is cut into words)."""

    pieces: str | Sequence[str] = "Hello."
    delay_s: float = 0.0
    """Before each piece."""
    hold_after: int | None = None
    """After so many pieces wait for `FakeEngine.release()`, or for the client to leave."""
    reasoning: str = ""
    """Sent as `reasoning_content` before the pieces, as vLLM and llama.cpp do."""
    loading: Sequence[str] = ()
    reason: FinishReason = "stop"
    prompt_tokens: int = 10
    cached_tokens: int = 0
    dropped_messages: int = 0
    context_tokens: int = 2048
    timing: Timing = Timing(0.0, 0.05, 0.25)  # noqa: RUF009  frozen
    adapter_hash: str = ""

    def events(self) -> list[Event]:
        pieces = split(self.pieces) if isinstance(self.pieces, str) else list(self.pieces)
        usage = Usage(self.prompt_tokens, len(pieces), self.cached_tokens)
        return [
            *(Loading(stage) for stage in self.loading),
            Prefilled(self.prompt_tokens, self.cached_tokens, self.dropped_messages, self.context_tokens),
            *(Token(piece, id=number, logprob=-0.5) for number, piece in enumerate(pieces)),
            Finished(
                self.reason,
                usage,
                self.timing,
                seed=7,
                model_hash="f" * 64,
                device="cpu",
                adapter_hash=self.adapter_hash,
            ),
        ]


@dataclass(frozen=True)
class Fail:
    """An error: instead of an answer, or in the middle of one where `after` pieces of `pieces` came."""

    message: str
    code: str = "server_error"
    status: int = 500
    pieces: str = ""

    def body(self) -> dict[str, Any]:
        return error_body(self.message, code=self.code)


@dataclass(frozen=True)
class Die:
    """The connection breaks off after so many pieces, as when the process is killed."""

    after: int = 0
    pieces: str = "A reply that never gets to its end."


@dataclass(frozen=True)
class Raw:
    """Bytes as they are, for streams that no good server sends."""

    content: bytes
    media_type: str = "text/event-stream"


Script = Reply | Fail | Die | Raw


def split(text: str) -> list[str]:
    """Words with the space before them, as a tokenizer would cut."""
    return [piece for piece in text.replace(" ", "\0 ").split("\0") if piece]


@dataclass
class FakeEngine:
    plain: bool = False
    key: str | None = None
    models: Sequence[str] = ("fake",)
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of the chat requests, in order."""
    sent: list[int] = field(default_factory=list)
    """How many pieces of each were sent before it ended or its client left."""
    leases: int = 0

    def __post_init__(self) -> None:
        self._scripts: deque[Script] = deque()
        self._released = threading.Event()
        self._running = 0
        self._folder = tempfile.TemporaryDirectory(prefix="fake-", ignore_cleanup_errors=True)
        socket = None if self.plain else Path(self._folder.name) / "engine.sock"
        config = uvicorn.Config(
            self._app(),
            uds=str(socket) if socket else None,
            port=0,
            lifespan="off",
            log_config=None,
            log_level="critical",  # what is cut off on purpose is no error
            access_log=False,
        )
        config.timeout_graceful_shutdown = 0
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._socket = socket

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the fake engine did not start"
            self._thread.join(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(5)
        self._folder.cleanup()

    @property
    def endpoint(self) -> Endpoint:
        if self._socket:
            return Endpoint("http://engine", self._socket, self.key, own=True)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return Endpoint(f"http://127.0.0.1:{port}", None, self.key)

    @property
    def idle(self) -> bool:
        """Whether no reply is being said."""
        return self._running == 0

    def enqueue(self, *scripts: Script) -> None:
        """What the next chat requests get, in order."""
        self._scripts.extend(scripts)

    def release(self) -> None:
        """Let replies that hold go on, those to come too."""
        self._released.set()

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/tokenize", self._tokenize, methods=["POST"]),
                Route("/v1/score", self._score, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/engine/load", self._load, methods=["POST"]),
                Route("/engine/lease", self._lease),
            ]
        )

    async def _models(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _tokenize(self, request: Request) -> Response:
        """A token for each run of letters, with the space before it, and for each other character."""
        body = await request.json()
        prompt = "".join(f"{one['role']}\n{one['content']}\n" for one in body["messages"])
        cut = [re.findall(r"\s?[A-Za-z]+|\s?.|\s", text) for text in [prompt, *body["prompt"]]]
        data = [{"count": len(one), "tokens": list(range(len(one))), "token_strs": one} for one in cut]
        return JSONResponse({"object": "list", "data": data, "model": body["model"], "max_model_len": 8192})

    async def _score(self, request: Request) -> Response:
        """A word is the likelier the oftener it is in the last message."""
        body = await request.json()
        said = body["messages"][-1]["content"].lower()
        data = [{"logprobs": [-4 / (1 + said.count(word.lower()))]} for word in body["continuations"]]
        return JSONResponse({"object": "list", "data": data, "model": body["model"]})

    async def _load(self, request: Request) -> Response:
        model = (await request.json())["model"]
        chunks = self._writer(model, Wanted(events=True)).chunks(Loading(f"loading {model}"))
        return StreamingResponse(iter([*map(sse.frame, chunks), sse.DONE]), media_type="text/event-stream")

    async def _lease(self, request: Request) -> Response:  # noqa: ARG002
        async def stay() -> AsyncIterator[bytes]:
            self.leases += 1
            try:
                while True:
                    yield sse.COMMENT
                    await asyncio.sleep(0.2)
            finally:
                self.leases -= 1

        return StreamingResponse(stay(), media_type="text/event-stream")

    async def _chat(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        body = json.loads(await request.body())
        self.requests.append(body)
        self.sent.append(0)
        script = self._scripts.popleft() if self._scripts else Reply()
        if isinstance(script, Raw):
            return Response(script.content, media_type=script.media_type)
        if isinstance(script, Fail) and not script.pieces:
            return JSONResponse(script.body(), script.status)
        return StreamingResponse(self._stream(script, body, len(self.sent) - 1), media_type="text/event-stream")

    async def _stream(self, script: Reply | Fail | Die, body: dict[str, Any], number: int) -> AsyncIterator[bytes]:
        options = body.get("stream_options") or {}
        events = bool(options.get("include_events")) and not self.plain
        wanted = Wanted(bool(body.get("logprobs")), bool(options.get("include_usage")), events)
        writer = self._writer(body["model"], wanted)
        reply = script if isinstance(script, Reply) else Reply(script.pieces)
        self._running += 1
        try:
            if reply.reasoning:
                yield sse.frame({"choices": [{"index": 0, "delta": {"reasoning_content": reply.reasoning}}]})
            async for content in self._say(script, reply, writer, number):
                yield content
        finally:
            self._running -= 1

    async def _say(
        self, script: Reply | Fail | Die, reply: Reply, writer: ChunkWriter, number: int
    ) -> AsyncIterator[bytes]:
        for event in reply.events():
            if isinstance(event, Token):
                await asyncio.sleep(reply.delay_s)
                await self._hold(reply, self.sent[number])
                if isinstance(script, Die) and self.sent[number] >= script.after:
                    raise ConnectionAbortedError("as the script says")
                self.sent[number] += 1
            if isinstance(event, Finished) and isinstance(script, Fail):
                yield sse.frame(script.body())
                return
            for chunk in writer.chunks(event):
                yield sse.frame(self._plain(chunk) if self.plain else chunk)
        yield sse.DONE

    async def _hold(self, reply: Reply, sent: int) -> None:
        while reply.hold_after is not None and sent >= reply.hold_after and not self._released.is_set():
            await asyncio.sleep(0.01)

    def _plain(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Only what the OpenAI API knows."""
        return {name: chunk[name] for name in ("id", "object", "created", "model", "choices", "usage") if name in chunk}

    def _writer(self, model: str, wanted: Wanted) -> ChunkWriter:
        return ChunkWriter("chat", request_id="chatcmpl-fake", created=0, model=model, wanted=wanted)

    def _refused(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return JSONResponse(error_body("Incorrect API key provided.", code="invalid_api_key"), 401)
