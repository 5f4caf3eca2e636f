"""The routes under /v1: the OpenAI API."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Literal, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.adapters.speakers import BASE_NAME, Chosen, Speakers, parsed
from assistant.engine.networks.network import Steps
from assistant.errors import AdapterError, RequestRefused
from assistant.events import Embedded, Event, Reread, Scored, Tokenized
from assistant.server.embedding import Embedding
from assistant.server.schemas import (
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    Generation,
    LogprobsRequest,
    ScoreRequest,
    Spoken,
    TokenizeRequest,
    parse,
)
from assistant.server.stream import EventStream, frames, unless_gone, with_comments
from assistant.server.worker import Engine, Work, Worker
from assistant.wire.chunks import ChunkWriter, embeddings_body, logprobs_body, scores_body, tokens_body

MOST_BYTES = 64_000_000
"""Longest body that is read: far beyond any context window, far below what would fill the memory."""

Names = Callable[[], Sequence[str]]
"""The models there are."""
Check = Callable[[str], None]
"""Raises a `ModelError` for a name that can't be asked for."""
Asked = TypeVar("Asked", bound=BaseModel)


def routes(worker: Worker, embedding: Embedding, names: Names, check: Check, speakers: Speakers) -> list[Route]:
    """`names` are listed; `check` says whether a request may name a model; `speakers`: who speaks for it."""

    async def choose(asked: Spoken) -> Chosen:
        chosen = await asyncio.to_thread(
            speakers.chosen, asked.model, names, asked.adapter, asked.adapter_hash
        )  # the log may be on a slow disk
        check(chosen.model)
        return chosen

    async def chat(request: Request) -> Response:
        asked = await read(request, ChatRequest)
        samplings, messages = asked.samplings(), [message.message() for message in asked.messages]
        going_on, oldest = bool(asked.continue_final_message), asked.truncation != "refuse"
        chosen = await choose(asked)

        def work(engine: Engine) -> list[Steps]:
            adapter = chosen.folder()
            return [
                engine.replying(
                    messages, sampling, continue_final=going_on, drop_oldest=oldest, adapter=adapter, choice=choice
                )
                for choice, sampling in enumerate(samplings)
            ]

        return await _answer(request, asked, chosen, "chat", work)

    async def complete(request: Request) -> Response:
        asked = await read(request, CompletionRequest)
        text, samplings, chosen = asked.prompt, asked.samplings(), await choose(asked)

        def work(engine: Engine) -> list[Steps]:
            adapter = chosen.folder()
            return [
                engine.completing(text, sampling, adapter=adapter, choice=choice)
                for choice, sampling in enumerate(samplings)
            ]

        return await _answer(request, asked, chosen, "text", work)

    async def _answer(
        request: Request, asked: Generation, chosen: Chosen, kind: Literal["chat", "text"], work: Work
    ) -> Response:
        request_id = f"{'chatcmpl' if kind == 'chat' else 'cmpl'}-{uuid.uuid4().hex}"
        writer = ChunkWriter(
            kind,
            request_id=request_id,
            created=int(time.time()),
            model=chosen.id,
            adapter=chosen.speaker.name,
            wanted=asked.wanted(),
            choices=asked.n or 1,
        )
        events = worker.stream(chosen.model, work)

        async def begin() -> list[Event]:
            """What comes before the answer is sure: an error until then is an HTTP status."""
            begun: list[Event] = []
            async for event in events:
                begun.append(event)
                if writer.chunks(event):
                    break
            return begun

        async def whole() -> list[Event]:
            return [event async for event in events]

        if asked.stream:
            return EventStream(with_comments(frames(events, await unless_gone(request, begin()), writer)))
        async with aclosing(events):
            return JSONResponse(writer.whole(await unless_gone(request, whole())))

    async def models(request: Request) -> Response:  # noqa: ARG001
        listed = [
            {"id": id_, "object": "model", "created": 0, "owned_by": "local", "parent": model, "adapter": adapter}
            for id_, model, adapter in await asyncio.to_thread(speakers.ids, names())
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def embeddings(request: Request) -> Response:
        asked = await read(request, EmbeddingsRequest)
        texts, (model, adapter) = asked.input, parsed(asked.model, names)
        if adapter not in (None, BASE_NAME):
            raise AdapterError(f"Embeddings are made by the base alone. Ask for the model {model}.")
        check(model)
        embedded: Event | None = await unless_gone(request, embedding.embed(model, texts, background=asked.background))
        if embedded is None:
            embedded = await _last(request, model, lambda engine: [engine.embedding(texts)])
        assert isinstance(embedded, Embedded)
        return JSONResponse(embeddings_body(asked.model, embedded, base64=asked.encoding_format == "base64"))

    async def score(request: Request) -> Response:
        asked = await read(request, ScoreRequest)
        messages, texts = [message.message() for message in asked.messages], asked.continuations
        chosen = await choose(asked)

        def work(engine: Engine) -> list[Steps]:
            return [engine.scoring(messages, texts, adapter=chosen.folder())]

        scored = await _last(request, chosen.model, work)
        assert isinstance(scored, Scored)
        return JSONResponse(scores_body(chosen.id, texts, scored) | {"adapter": chosen.speaker.name})

    async def logprobs(request: Request) -> Response:
        asked = await read(request, LogprobsRequest)
        messages, chosen = [message.message() for message in asked.messages], await choose(asked)
        reply = asked.reply or asked.token_ids or ""

        def work(engine: Engine) -> list[Steps]:
            return [engine.rereading(messages, reply, asked.top_logprobs, adapter=chosen.folder())]

        reread = await _last(request, chosen.model, work)
        assert isinstance(reread, Reread)
        return JSONResponse(logprobs_body(chosen.id, reread) | {"adapter": chosen.speaker.name})

    async def tokenize(request: Request) -> Response:
        asked = await read(request, TokenizeRequest)
        messages, texts = [message.message() for message in asked.messages], asked.prompt
        model, _ = parsed(asked.model, names)  # an adapter has its base's tokens
        check(model)
        tokenized = await _last(request, model, lambda engine: [engine.tokenizing(messages, texts)])
        assert isinstance(tokenized, Tokenized)
        return JSONResponse(tokens_body(asked.model, tokenized))

    async def _last(request: Request, model: str, work: Work) -> Event:
        """The last event of work that is answered whole."""
        async with aclosing(worker.stream(model, work)) as events:

            async def whole() -> list[Event]:
                return [event async for event in events]

            return (await unless_gone(request, whole()))[-1]

    async def adapters(request: Request) -> Response:  # noqa: ARG001
        listed = [{"id": name, "object": "adapter"} for name in speakers.folders.names()]
        return JSONResponse({"object": "list", "data": listed})

    return [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", complete, methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/v1/score", score, methods=["POST"]),
        Route("/v1/logprobs", logprobs, methods=["POST"]),
        Route("/v1/tokenize", tokenize, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/adapters", adapters),
    ]


async def read(request: Request, kind: type[Asked]) -> Asked:
    """The request in the body. Raises `RequestRefused` where it is too long or says something else."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BYTES:
            raise RequestRefused(f"The body is longer than {MOST_BYTES:,} bytes.", code="too_large", status=413)
    return parse(bytes(content), kind)
