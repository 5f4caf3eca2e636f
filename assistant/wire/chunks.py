"""Events of the engine <-> chunks of the OpenAI API (chat.completion.chunk, text_completion).

What the API lacks travels as extensions that are sent to those who ask for them: `event` in a chunk without choices
(loading, prefilled), `token_id` beside a log-probability, and `timing`, `seed`, `model_hash`, `device` beside `usage`.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assistant.events import Event, Finished, FinishReason, Loading, Prefilled, Timing, Token, TopToken, Usage
from assistant.wire.errors import BadAnswer

Body = dict[str, Any]
LEAST_LOGPROB = -9999.0
"""OpenAI's own number for the impossible: JSON has no infinity."""
REASONS: tuple[FinishReason, ...] = ("stop", "length", "cancelled")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked to be told beside the text."""

    logprobs: bool = False
    usage: bool = False
    """The chunk with token counts, timing and seed (`stream_options.include_usage`)."""
    events: bool = False
    """The chunks of loading and prefill (`stream_options.include_events`, ours alone: programs that look only at
    `choices[0]` fail on a chunk without choices)."""


class ChunkWriter:
    """The events of one answer -> the bodies of its stream, or of its one whole answer."""

    def __init__(self, kind: Literal["chat", "text"], *, request_id: str, created: int, model: str, wanted: Wanted):
        self._chat = kind == "chat"
        name = "chat.completion" if self._chat else "text_completion"
        self._head: Body = {"id": request_id, "object": name, "created": created, "model": model}
        self._wanted = wanted

    def opening(self) -> list[Body]:
        """What comes before the first token: the role."""
        return [self._chunk([self._choice({"role": "assistant", "content": ""})])] if self._chat else []

    def chunks(self, event: Event) -> list[Body]:
        """The chunks of one event; none for what the client didn't ask to be told."""
        match event:
            case Loading():
                return self._extension("loading", event)
            case Prefilled():
                return self._extension("prefilled", event)
            case Token():
                if not event.text and not self._wanted.logprobs:
                    return []
                return [self._chunk([self._choice({"content": event.text}, logprobs=self._logprobs([event]))])]
            case Finished():
                ending = [self._chunk([self._choice({}, reason=event.reason)])]
                if self._wanted.usage:
                    ending.append(self._chunk([], **figures(event)))
                return ending

    def whole(self, events: Sequence[Event]) -> Body:
        """The answer in one body, of all its events. The last one is `Finished`."""
        tokens = [event for event in events if isinstance(event, Token)]
        text, finished = "".join(token.text for token in tokens), events[-1]
        assert isinstance(finished, Finished)
        choice: Body = {"index": 0, "logprobs": self._logprobs(tokens), "finish_reason": finished.reason}
        choice |= {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return {**self._head, "choices": [choice], **figures(finished)}

    def _extension(self, kind: str, event: Loading | Prefilled) -> list[Body]:
        return [self._chunk([], event={"type": kind, **dataclasses.asdict(event)})] if self._wanted.events else []

    def _chunk(self, choices: list[Body], **extras: Any) -> Body:
        head = {**self._head, "object": "chat.completion.chunk"} if self._chat else self._head
        return {**head, "choices": choices, **extras}

    def _choice(self, delta: Body, *, logprobs: Body | None = None, reason: str | None = None) -> Body:
        said: Body = {"delta": delta} if self._chat else {"text": delta.get("content", "")}
        return {"index": 0, **said, "logprobs": logprobs, "finish_reason": reason}

    def _logprobs(self, tokens: Sequence[Token]) -> Body | None:
        return {"content": [_logprob(token) for token in tokens]} if self._wanted.logprobs else None


def _logprob(token: Token | TopToken) -> Body:
    body: Body = {
        "token": token.text,
        "logprob": token.logprob if token.logprob is None else max(token.logprob, LEAST_LOGPROB),
        "bytes": list(token.text.encode("utf-8", "replace")),
        "token_id": token.id,
    }
    if isinstance(token, Token):
        body["top_logprobs"] = [_logprob(top) for top in token.top]
    return body


def figures(finished: Finished) -> Body:
    """`usage` in OpenAI's form, and what it lacks."""
    usage = finished.usage
    return {
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        },
        "timing": dataclasses.asdict(finished.timing),
        "seed": finished.seed,
        "model_hash": finished.model_hash,
        "device": finished.device,
    }


class ChunkReader:
    """The chunks of one answer -> its events, from our engine or any OpenAI-compatible server.

    Reasoning that a server sends apart (`reasoning_content`, or `reasoning`) becomes text inside `<think>` tags.
    """

    def __init__(self) -> None:
        self.reason: FinishReason | None = None
        self._thinking = False
        self._figures: Body = {}

    def read(self, chunk: Any) -> list[Event]:
        """The events of one chunk. Raises `BadAnswer` where it isn't one."""
        try:
            if event := chunk.get("event"):
                return [_extension(dict(event))]
            if chunk.get("usage"):
                self._figures = chunk
            choices = chunk.get("choices") or []
            return self._choice(choices[0]) if choices else []
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise BadAnswer(f"a chunk that is not of the OpenAI form: {str(chunk)[:80]!r}") from error

    def finished(self, timing: Timing = Timing()) -> list[Event]:  # noqa: B008  frozen
        """What ends the answer: a `</think>` left open, and `Finished`. `timing` is used where the server sent none."""
        closing: list[Event] = [Token("</think>")] if self._thinking else []
        self._thinking = False
        try:
            return [*closing, _finished(self.reason or "stop", self._figures, timing)]
        except (AttributeError, TypeError, ValueError) as error:
            raise BadAnswer(f"a usage that is not of the OpenAI form: {str(self._figures)[:80]!r}") from error

    def _choice(self, choice: Body) -> list[Event]:
        delta = choice.get("delta") or {}
        if reason := choice.get("finish_reason"):
            self.reason = reason if reason in REASONS else "stop"
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        content = delta.get("content") if delta else choice.get("text")
        logprobs = (choice.get("logprobs") or {}).get("content") or [{}]
        text = self._think(thought, content or "")
        if not isinstance(text, str):
            raise TypeError(text)
        return [_token(text, logprobs[0])] if text or "token_id" in logprobs[0] else []

    def _think(self, thought: str, content: str) -> str:
        opened, closed = thought and not self._thinking, content and (self._thinking or thought)
        self._thinking = bool((self._thinking or thought) and not content)
        return ("<think>" if opened else "") + thought + ("</think>" if closed else "") + content


def _token(text: str, logprob: Body) -> Token:
    top = tuple(TopToken(t["token"], t["logprob"], t.get("token_id")) for t in logprob.get("top_logprobs") or ())
    return Token(text, logprob.get("token_id"), logprob.get("logprob"), top)


def _extension(event: Body) -> Event:
    kind = event.pop("type")
    return Loading(**event) if kind == "loading" else Prefilled(**event)


def _finished(reason: FinishReason, body: Body, timing: Timing) -> Finished:
    usage = body.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens"))
    return Finished(
        reason,
        Usage(*(int(count or 0) for count in counts)),
        Timing(**body["timing"]) if body.get("timing") else timing,
        body.get("seed"),
        body.get("model_hash") or "",
        body.get("device") or "",
    )
