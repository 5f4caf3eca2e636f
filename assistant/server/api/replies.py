"""Replies to conversations and continuations of texts, in the OpenAI API's terms."""

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.engine.request import Chat, Complete
from assistant.events import Event
from assistant.server.api.body import ChatMessage, Generation, Text, read
from assistant.server.api.service import Service, whole
from assistant.server.stream import EventStream, frames, unless_gone, with_comments
from assistant.wire.chunks import ChunkWriter


class ChatRequest(Generation):
    logprobs: bool | None = None
    top_logprobs: int | None = None
    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = None
    continue_final_message: bool | None = None
    """Go on with the last message, which is the assistant's, as vLLM does."""
    truncation: Literal["oldest", "refuse"] | None = None
    """What happens to a conversation that outgrows the context. `oldest` where nothing is said."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.continue_final_message and self.messages[-1].role != "assistant":
            raise ValueError("continue_final_message needs a last message of role assistant")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        self.max_tokens = self.max_completion_tokens or self.max_tokens
        return self

    @property
    def alternatives(self) -> int:
        return self.top_logprobs or 0

    @property
    def wants_logprobs(self) -> bool:
        return bool(self.logprobs)

    def requests(self) -> list[Chat]:
        """One for each of the `n` answers. Raises `SamplingError`."""
        messages = [message.message() for message in self.messages]
        going_on, oldest = bool(self.continue_final_message), self.truncation != "refuse"
        return [
            Chat(messages, sampling, continue_final=going_on, drop_oldest=oldest, choice=choice)
            for choice, sampling in enumerate(self.samplings())
        ]


class CompletionRequest(Generation):
    prompt: Text
    logprobs: int | bool | None = None
    """OpenAI's number of alternatives; ours also takes true."""

    @field_validator("prompt", mode="before")
    @classmethod
    def _only_one(cls, prompt: Any) -> Any:
        return prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt

    @property
    def alternatives(self) -> int:
        return 0 if isinstance(self.logprobs, bool) else self.logprobs or 0

    @property
    def wants_logprobs(self) -> bool:
        return self.logprobs is not None and self.logprobs is not False

    def requests(self) -> list[Complete]:
        """One for each of the `n` answers. Raises `SamplingError`."""
        return [Complete(self.prompt, sampling, choice=choice) for choice, sampling in enumerate(self.samplings())]


@dataclass(frozen=True, slots=True)
class Replies:
    """The endpoints that generate text, streamed or whole."""

    service: Service

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]

    async def chat(self, request: Request) -> Response:
        asked = await read(request, ChatRequest)
        return await self._answer(request, asked, "chat", asked.requests())

    async def complete(self, request: Request) -> Response:
        asked = await read(request, CompletionRequest)
        return await self._answer(request, asked, "text", asked.requests())

    async def _answer(
        self, request: Request, asked: Generation, kind: Literal["chat", "text"], requests: Sequence[Chat | Complete]
    ) -> Response:
        chosen = await self.service.choose(asked)
        writer = ChunkWriter(
            kind,
            request_id=f"{'chatcmpl' if kind == 'chat' else 'cmpl'}-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=chosen.id,
            adapter=chosen.speaker.name,
            wanted=asked.wanted(),
            choices=len(requests),
        )
        events = self.service.answers(chosen, requests)
        if not asked.stream:
            return JSONResponse(writer.whole(await whole(request, events)))
        begun = await unless_gone(request, _begun(events, writer))
        return EventStream(with_comments(frames(events, begun, writer)))


async def _begun(events: AsyncGenerator[Event], writer: ChunkWriter) -> list[Event]:
    """What comes before the answer is sure: an error until then is an HTTP status."""
    begun: list[Event] = []
    async for event in events:
        begun.append(event)
        if writer.chunks(event):
            break
    return begun
