"""What may be asked, in the OpenAI API's own terms. Unknown fields are ignored, as that API's other servers do;
known ones that would change the answer, but that this engine can't honour, are refused."""

import json
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from assistant.engine.generate.sampling import Sampling
from assistant.wire.chunks import Wanted
from assistant.wire.errors import InvalidRequest
from prompts.message import Message, Role

UNSUPPORTED = ("audio", "best_of", "dimensions", "echo", "function_call", "functions", "suffix", "tools")
"""Fields of the API that are refused where they say anything but "no"."""


MOST_CHOICES = 16


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


def _encodable(text: str) -> str:
    """JSON can hold half of a surrogate pair, which is no character: no tokenizer can read it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]


class TextPart(_Body):
    type: Literal["text"]
    text: Text


class ChatMessage(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: list[TextPart]

    @field_validator("content", mode="before")
    @classmethod
    def _one_part(cls, content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content

    def message(self) -> Message:
        role: Role = "system" if self.role == "developer" else self.role
        return Message(role, "".join(part.text for part in self.content))


class StreamOptions(_Body):
    include_usage: bool | None = None
    include_events: bool | None = None
    """Ours: also tell of loading and prefill."""


class JsonSchema(_Body):
    json_schema: dict[str, Any] | bool = Field(alias="schema")


class ResponseFormat(_Body):
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


class _Supported(_Body):
    """Refuses what would change the answer but can't be honoured."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, body: Any) -> Any:
        for name in UNSUPPORTED if isinstance(body, dict) else ():
            if body.get(name):
                raise ValueError(f"{name} is not supported; leave it out")
        return body


class Spoken(_Supported):
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


class ScoreRequest(Spoken):
    """Ours: how likely each continuation of a conversation is."""

    messages: list[ChatMessage] = Field(min_length=1)
    continuations: list[Annotated[Text, Field(min_length=1)]] = Field(min_length=1, max_length=1000)


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


class TokenizeRequest(_Supported):
    """Ours, after vLLM's: a conversation as the model reads it, and texts as they would stand in it."""

    model: str = Field(min_length=1)
    messages: list[ChatMessage] = []
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


class EmbeddingsRequest(_Supported):
    model: str = Field(min_length=1)
    input: list[Text] = Field(min_length=1, max_length=2048)
    encoding_format: Literal["float", "base64"] | None = None
    background: bool = False
    """Ours alone: wait while the engine has anything else to do. Of a model that chats, without effect."""

    @field_validator("input", mode="before")
    @classmethod
    def _listed(cls, texts: Any) -> Any:
        return [texts] if isinstance(texts, str) else texts


class LoadRequest(_Body):
    model: str = Field(min_length=1)


Asked = TypeVar("Asked", bound=BaseModel)


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
