"""What is asked of texts that are there: how likely they are, their tokens, their vectors. Answered whole."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.adapters.speakers import BASE_NAME
from assistant.engine.request import Embed, ReadAgain, Score, Tokenize
from assistant.errors import AdapterError
from assistant.events import Embedded, Event, Reread, Scored, Tokenized
from assistant.server.api.body import ChatMessage, Spoken, Supported, Text, read
from assistant.server.api.service import Service, whole
from assistant.server.stream import unless_gone
from assistant.wire.chunks import embeddings_body, logprobs_body, scores_body, tokens_body


class ScoreRequest(Spoken):
    """Ours: how likely each continuation of a conversation is."""

    messages: list[ChatMessage] = Field(min_length=1)
    continuations: list[Annotated[Text, Field(min_length=1)]] = Field(min_length=1, max_length=1000)

    def request(self) -> Score:
        return Score([message.message() for message in self.messages], self.continuations)


class LogprobsRequest(Spoken):
    """Ours: a reply to a conversation token by token, given as text or as the ids that it was made of."""

    messages: list[ChatMessage] = Field(min_length=1)
    reply: Annotated[Text, Field(min_length=1)] | None = None
    token_ids: list[Annotated[int, Field(ge=0)]] | None = Field(default=None, min_length=1)
    top_logprobs: int = Field(default=0, ge=0, le=20)

    @model_validator(mode="after")
    def _one_reply(self) -> Self:
        if (self.reply is None) == (self.token_ids is None):
            raise ValueError("give either reply or token_ids")
        return self

    def request(self) -> ReadAgain:
        messages = [message.message() for message in self.messages]
        return ReadAgain(messages, self.reply or self.token_ids or "", self.top_logprobs)


class TokenizeRequest(Supported):
    """Ours, after vLLM's: a conversation as the model reads it, and texts as they would stand in it."""

    model: str = Field(min_length=1)
    messages: list[ChatMessage] = Field(default=[])
    prompt: list[Text] = Field(default=[], max_length=2048)

    @field_validator("prompt", mode="before")
    @classmethod
    def _listed(cls, texts: Any) -> Any:
        return [texts] if isinstance(texts, str) else texts

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.messages and not self.prompt:
            raise ValueError("give messages or prompt")
        return self

    def request(self) -> Tokenize:
        return Tokenize([message.message() for message in self.messages], self.prompt)


class EmbeddingsRequest(Supported):
    model: str = Field(min_length=1)
    input: list[Text] = Field(min_length=1, max_length=2048)
    encoding_format: Literal["float", "base64"] | None = None
    background: bool = False
    """Ours alone: wait while the engine has anything else to do. Of a model that chats, without effect."""

    @field_validator("input", mode="before")
    @classmethod
    def _listed(cls, texts: Any) -> Any:
        return [texts] if isinstance(texts, str) else texts


@dataclass(frozen=True, slots=True)
class Texts:
    """The endpoints that measure texts."""

    service: Service

    def routes(self) -> list[Route]:
        return [
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/v1/score", self.score, methods=["POST"]),
            Route("/v1/logprobs", self.logprobs, methods=["POST"]),
            Route("/v1/tokenize", self.tokenize, methods=["POST"]),
        ]

    async def score(self, request: Request) -> Response:
        asked = await read(request, ScoreRequest)
        chosen = await self.service.choose(asked)
        scored = await _last(request, self.service.answers(chosen, [asked.request()]))
        assert isinstance(scored, Scored)
        return JSONResponse(scores_body(chosen.id, asked.continuations, scored) | {"adapter": chosen.speaker.name})

    async def logprobs(self, request: Request) -> Response:
        asked = await read(request, LogprobsRequest)
        chosen = await self.service.choose(asked)
        reread = await _last(request, self.service.answers(chosen, [asked.request()]))
        assert isinstance(reread, Reread)
        return JSONResponse(logprobs_body(chosen.id, reread) | {"adapter": chosen.speaker.name})

    async def tokenize(self, request: Request) -> Response:
        asked = await read(request, TokenizeRequest)
        model, _ = self.service.named(asked.model)  # an adapter has its base's tokens
        tokenized = await _last(request, self.service.worker.stream(model, lambda: [asked.request()]))
        assert isinstance(tokenized, Tokenized)
        return JSONResponse(tokens_body(asked.model, tokenized))

    async def embeddings(self, request: Request) -> Response:
        asked = await read(request, EmbeddingsRequest)
        model, adapter = self.service.named(asked.model)
        if adapter not in (None, BASE_NAME):
            raise AdapterError(f"Embeddings are made by the base alone. Ask for the model {model}.")
        embedded: Event | None = await unless_gone(
            request, self.service.embedding.embed(model, asked.input, background=asked.background)
        )
        if embedded is None:  # a model that chats
            embedded = await _last(request, self.service.worker.stream(model, lambda: [Embed(asked.input)]))
        assert isinstance(embedded, Embedded)
        return JSONResponse(embeddings_body(asked.model, embedded, base64=asked.encoding_format == "base64"))


async def _last(request: Request, events: AsyncGenerator[Event]) -> Event:
    """The event that is the answer; what comes before it is `Loading`."""
    return (await whole(request, events))[-1]
