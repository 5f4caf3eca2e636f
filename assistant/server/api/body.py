"""What bodies of requests have in common, in the OpenAI API's own terms, and how they are read.

Unknown fields are ignored, as that API's other servers do. Known fields that would change the answer, but that this
engine can't honour, are refused.
"""

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from starlette.requests import Request

from assistant.engine.generate.sampling import Sampling
from assistant.errors import RequestRefused
from assistant.wire.chunks import Wanted
from assistant.wire.errors import InvalidRequest
from prompts.message import Message, Role

UNSUPPORTED = ("audio", "best_of", "dimensions", "echo", "function_call", "functions", "suffix", "tools")
"""Fields of the API that are refused where they say anything but "no"."""

MOST_CHOICES = 16
MOST_BYTES = 64_000_000
"""Longest body that is read: far beyond any context window, far below what would fill the memory."""


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


def _encodable(text: str) -> str:
    """JSON can hold half of a surrogate pair, which is no character: no tokenizer can read it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]


class TextPart(Body):
    type: Literal["text"]
    text: Text


class ChatMessage(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: list[TextPart]

    @field_validator("content", mode="before")
    @classmethod
    def _one_part(cls, content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content

    def message(self) -> Message:
        role: Role = "system" if self.role == "developer" else self.role
        return Message(role, "".join(part.text for part in self.content))


class StreamOptions(Body):
    include_usage: bool | None = None
    include_events: bool | None = None
    """Ours: also tell of loading and prefill."""


class JsonSchema(Body):
    json_schema: dict[str, Any] | bool = Field(alias="schema")


class ResponseFormat(Body):
    """The form of a reply, as OpenAI has it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def text(self) -> str:
        """As `Sampling.json_schema`."""
        if self.type == "text":
            return ""
        if self.type == "json_object":
            return json.dumps({"type": "object"})
        if self.json_schema is None:
            raise InvalidRequest("response_format: of type json_schema it needs json_schema.", param="response_format")
        return json.dumps(self.json_schema.json_schema)


class Supported(Body):
    """Refuses what would change the answer but can't be honoured."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, body: Any) -> Any:
        for name in UNSUPPORTED if isinstance(body, dict) else ():
            if body.get(name):
                raise ValueError(f"{name} is not supported; leave it out")
        return body


class Spoken(Supported):
    """A request that an adapter may answer."""

    model: str = Field(min_length=1)
    """A model, or a model and an adapter of it: `MODEL:NAME`, `MODEL:base`."""
    adapter: str | None = None
    """Ours: name of an adapter; empty or `base` for the base alone, null for what is in use."""
    adapter_hash: str | None = None
    """Ours: the adapter is refused where its files have another hash."""


class Generation(Spoken):
    """What a chat and a completion have in common."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    response_format: ResponseFormat | None = None

    @field_validator("logit_bias")
    @classmethod
    def _ids(cls, biases: dict[str, float] | None) -> dict[str, float] | None:
        for token in biases or {}:
            if not token.isascii() or not token.isdigit():
                raise ValueError(f"{token!r} is no token id")
        return biases

    def sampling(self) -> Sampling:
        """Raises `SamplingError` for values out of range. What isn't given has our own defaults."""
        values = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        biases = [(int(token), bias) for token, bias in (self.logit_bias or {}).items()]
        schema = self.response_format.text() if self.response_format else ""
        extras = {"stop": stop, "logit_bias": biases, "json_schema": schema, "top_logprobs": self.alternatives}
        return Sampling().replace(values | extras)

    def samplings(self) -> list[Sampling]:
        """One for each of the `n` answers; where a seed is given each has its own."""
        first = self.sampling()
        seeds = [None if first.seed is None else (first.seed + index) % 2**63 for index in range(self.n or 1)]
        return [first.replace({"seed": seed}) for seed in seeds]

    @property
    def alternatives(self) -> int:
        """How many of the likeliest tokens are asked for at each position."""
        raise NotImplementedError

    @property
    def wants_logprobs(self) -> bool:
        raise NotImplementedError

    def wanted(self) -> Wanted:
        options = self.stream_options or StreamOptions()
        return Wanted(self.wants_logprobs, bool(options.include_usage), bool(options.include_events))


_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "max_tokens",
    "seed",
)


Asked = TypeVar("Asked", bound=BaseModel)


async def read(request: Request, kind: type[Asked]) -> Asked:
    """The request in the body. Raises `RequestRefused` where it is too long or says something else."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BYTES:
            raise RequestRefused(f"The body is longer than {MOST_BYTES:,} bytes.", code="too_large", status=413)
    return parse(bytes(content), kind)


def parse(content: bytes, kind: type[Asked]) -> Asked:
    """The request in a body. Raises `InvalidRequest` that names the first field that is wrong."""
    try:
        return kind.model_validate(json.loads(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise InvalidRequest(f"{field}: {message}." if field else f"{message}.", param=field or None) from None
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is no JSON in UTF-8: {error}.") from None
