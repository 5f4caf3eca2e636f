"""What may be asked, in the OpenAI API's own terms. Unknown fields are ignored, as that API's other servers do;
known ones that would change the answer, but that this engine can't honour, are refused."""

import json
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from assistant.engine.sampling import Sampling
from assistant.wire.chunks import Wanted
from assistant.wire.errors import InvalidRequest
from prompts.message import Message, Role

UNSUPPORTED = (
    "audio",
    "best_of",
    "echo",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "presence_penalty",
    "suffix",
    "tools",
    "top_logprobs",
)
"""Fields of the API that are refused where they say anything but "no"."""


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


class Generation(_Body):
    """What a chat and a completion have in common."""

    model: str = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    logprobs: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, body: Any) -> Any:
        fields = body if isinstance(body, dict) else {}
        for name in UNSUPPORTED:
            if fields.get(name):
                raise ValueError(f"{name} is not supported; leave it out")
        if fields.get("n") not in (None, 1):
            raise ValueError("n may only be 1; ask several times for several answers")
        if (fields.get("response_format") or {"type": "text"}) != {"type": "text"}:
            raise ValueError("response_format may only be of type text; ask for the form in words")
        return body

    def sampling(self) -> Sampling:
        """Raises `SamplingError` for values out of range. What isn't given has our own defaults."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "seed")
        values = {name: value for name in names if (value := getattr(self, name)) is not None}
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling().replace({**values, "stop": stop})

    def wanted(self) -> Wanted:
        options = self.stream_options or StreamOptions()
        return Wanted(bool(self.logprobs), bool(options.include_usage), bool(options.include_events))


class ChatRequest(Generation):
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
        self.max_tokens = self.max_completion_tokens or self.max_tokens
        return self


class CompletionRequest(Generation):
    prompt: Text

    @field_validator("prompt", mode="before")
    @classmethod
    def _only_one(cls, prompt: Any) -> Any:
        return prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt


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
