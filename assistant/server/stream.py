"""Answers that are streamed, and clients that go away."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from assistant.errors import AssistantError
from assistant.events import Event
from assistant.wire import sse
from assistant.wire.chunks import ChunkWriter
from assistant.wire.errors import refusal

COMMENT_EVERY_S = 5.0
"""How long a stream stays silent: its client, and what lies between, then know that the engine lives."""

T = TypeVar("T")


class EventStream(StreamingResponse):
    """Server-sent events. What makes them is closed at once when the client goes away."""

    def __init__(self, frames: AsyncGenerator[bytes]) -> None:
        super().__init__(frames, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._frames.aclose()


async def unless_gone(request: Request, awaited: Coroutine[Any, Any, T]) -> T:
    """The result of `awaited`, which is cancelled when the client goes away. Raises `ClientDisconnect` then.

    To be used after the body was read and before a response begins: `EventStream` listens for itself.
    """

    async def leaves() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    work, gone = asyncio.create_task(awaited), asyncio.create_task(leaves())
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientDisconnect
    finally:
        work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def frames(events: AsyncGenerator[Event], begun: list[Event], writer: ChunkWriter) -> AsyncGenerator[bytes]:
    """The stream of an answer: `begun`, which was read already, then the rest. An error is its last event."""
    try:
        for chunk in writer.opening():
            yield sse.frame(chunk)
        for event in begun:
            for chunk in writer.chunks(event):
                yield sse.frame(chunk)
        try:
            async for event in events:
                for chunk in writer.chunks(event):
                    yield sse.frame(chunk)
        except AssistantError as error:
            yield sse.frame(refusal(error)[1])
            return
        yield sse.DONE
    finally:
        await events.aclose()


async def with_comments(stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """`stream`, with a comment wherever it is silent for long."""
    try:
        while True:
            step = asyncio.ensure_future(anext(stream))
            while not (await asyncio.wait((step,), timeout=COMMENT_EVERY_S))[0]:
                yield sse.COMMENT
            try:
                yield step.result()
            except StopAsyncIteration:
                return
    finally:
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        await stream.aclose()
