"""Events of the engine <-> chunks of the OpenAI API (chat.completion.chunk, text_completion).

What the API lacks travels as extensions that are sent to those who ask for them: `event` in a chunk without choices
(loading, prefilled), `token_id` beside a log-probability, and `timing`, `seed`, `model_hash`, `device`, `adapter`,
`adapter_hash` beside `usage`.
"""

import dataclasses
from array import array
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from assistant.events import (
    Embedded,
    Event,
    Finished,
    FinishReason,
    Loading,
    Prefilled,
    Reread,
    Scored,
    Timing,
    Token,
    Tokenized,
    TopToken,
    Usage,
)
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

    def __init__(
        self,
        kind: Literal["chat", "text"],
        *,
        request_id: str,
        created: int,
        model: str,
        wanted: Wanted,
        adapter: str = "",
        choices: int = 1,
    ) -> None:
        """`adapter`: the name of the one that speaks; empty for the base alone."""
        self._chat = kind == "chat"
        name = "chat.completion" if self._chat else "text_completion"
        self._head: Body = {"id": request_id, "object": name, "created": created, "model": model}
        self._wanted = wanted
        self._adapter = adapter
        self._choices = choices
        self._finished: list[Finished] = []

    def opening(self) -> list[Body]:
        """What comes before the first token: the role."""
        return [self._chunk([self._choice(0, {"role": "assistant", "content": ""})])] if self._chat else []

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
                said = self._choice(event.choice, {"content": event.text}, logprobs=self._logprobs([event]))
                return [self._chunk([said])]
            case Finished():
                ending = [self._chunk([self._choice(event.choice, {}, reason=event.reason)])]
                self._finished.append(event)
                if self._wanted.usage and len(self._finished) == self._choices:
                    ending.append(self._chunk([], **figures(self._finished, self._adapter)))
                return ending
            case Scored() | Reread() | Embedded() | Tokenized():
                raise AssertionError("these are answered whole")

    def whole(self, events: Sequence[Event]) -> Body:
        """The answer in one body, of all its events."""
        finished = [event for event in events if isinstance(event, Finished)]
        finished.sort(key=lambda event: event.choice)
        choices = [self._whole_choice(events, one) for one in finished]
        return {**self._head, "choices": choices, **figures(finished, self._adapter)}

    def _whole_choice(self, events: Sequence[Event], finished: Finished) -> Body:
        tokens = [event for event in events if isinstance(event, Token) and event.choice == finished.choice]
        text = "".join(token.text for token in tokens)
        said: Body = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        logprobs, reason = self._logprobs(tokens), finished.reason
        return {"index": finished.choice, **said, "logprobs": logprobs, "finish_reason": reason}

    def _extension(self, kind: str, event: Loading | Prefilled) -> list[Body]:
        return [self._chunk([], event={"type": kind, **dataclasses.asdict(event)})] if self._wanted.events else []

    def _chunk(self, choices: list[Body], **extras: Any) -> Body:
        head = {**self._head, "object": "chat.completion.chunk"} if self._chat else self._head
        return {**head, "choices": choices, **extras}

    def _choice(self, index: int, delta: Body, *, logprobs: Body | None = None, reason: str | None = None) -> Body:
        said: Body = {"delta": delta} if self._chat else {"text": delta.get("content", "")}
        return {"index": index, **said, "logprobs": logprobs, "finish_reason": reason}

    def _logprobs(self, tokens: Sequence[Token]) -> Body | None:
        if not self._wanted.logprobs:
            return None
        content = {"content": [_logprob(token) for token in tokens]}
        return content if self._chat else content | _completion_logprobs(tokens)


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


def _completion_logprobs(tokens: Sequence[Token]) -> Body:
    """As the older of OpenAI's two forms has them, beside the newer one."""
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [_logprob(token)["logprob"] for token in tokens],
        "top_logprobs": [{top.text: max(top.logprob, LEAST_LOGPROB) for top in token.top} for token in tokens],
        "text_offset": list(accumulate((len(token.text) for token in tokens[:-1]), initial=0)) if tokens else [],
    }


def figures(finished: Sequence[Finished], adapter: str) -> Body:
    """`usage` in OpenAI's form, of all the choices together, and what it lacks, of the first."""
    first = finished[0]
    return {
        "usage": _usage(first.usage.prompt_tokens, sum(one.usage.completion_tokens for one in finished))
        | {"prompt_tokens_details": {"cached_tokens": first.usage.cached_tokens}},
        "timing": dataclasses.asdict(first.timing),
        "seed": first.seed,
        "model_hash": first.model_hash,
        "adapter": adapter,
        "adapter_hash": first.adapter_hash,
        "device": first.device,
    }


def _usage(prompt: int, completion: int = 0) -> Body:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def embeddings_body(model: str, embedded: Embedded, *, base64: bool) -> Body:
    """The answer of /v1/embeddings."""
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if base64 else list(vector)}
        for index, vector in enumerate(embedded.vectors)
    ]
    return {"object": "list", "data": data, "model": model, "usage": _usage(embedded.prompt_tokens)}


def _base64(vector: Sequence[float]) -> str:
    return b64encode(array("f", vector).tobytes()).decode()


def scores_body(model: str, texts: Sequence[str], scored: Scored) -> Body:
    """The answer of /v1/score: for each text the sum of its tokens' log-probabilities, and each of them."""
    data = [
        {"index": index, "text": text, "logprob": max(sum(logprobs), LEAST_LOGPROB), "logprobs": list(logprobs)}
        for index, (text, logprobs) in enumerate(zip(texts, scored.logprobs, strict=True))
    ]
    return {"object": "list", "data": data, "model": model, "usage": _usage(scored.prompt_tokens)}


def logprobs_body(model: str, reread: Reread) -> Body:
    """The answer of /v1/logprobs: the tokens as a chat's `logprobs` has them."""
    usage = _usage(reread.prompt_tokens)
    return {"object": "logprobs", "content": [_logprob(one) for one in reread.tokens], "model": model, "usage": usage}


def tokens_body(model: str, tokenized: Tokenized) -> Body:
    """The answer of /v1/tokenize: of the conversation, where there is one, and of each text; with vLLM's names."""
    data = [
        {"index": index, "count": len(ids), "tokens": list(ids), "token_strs": list(pieces)}
        for index, (ids, pieces) in enumerate(zip(tokenized.ids, tokenized.pieces, strict=True))
    ]
    return {"object": "list", "data": data, "model": model, "max_model_len": tokenized.context_tokens}


def tokenized_of(body: Body) -> Tokenized:
    """What an answer of /v1/tokenize says. Raises `BadAnswer` where it isn't one."""
    try:
        data = body["data"]
        ids, pieces = (tuple(tuple(one[key]) for one in data) for key in ("tokens", "token_strs"))
        return Tokenized(ids, pieces, int(body["max_model_len"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnswer(f"tokens that are not of our form: {str(body)[:80]!r}") from error


def tokens_of(body: Body) -> list[Token]:
    """The tokens of an answer of /v1/logprobs. Raises `BadAnswer` where it isn't one."""
    try:
        return [_token(one["token"], one, 0) for one in body["content"]]
    except (KeyError, TypeError) as error:
        raise BadAnswer(f"tokens that are not of the OpenAI form: {str(body)[:80]!r}") from error


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
        return [_token(text, logprobs[0], int(choice.get("index") or 0))] if text or "token_id" in logprobs[0] else []

    def _think(self, thought: str, content: str) -> str:
        opened, closed = thought and not self._thinking, content and (self._thinking or thought)
        self._thinking = bool((self._thinking or thought) and not content)
        return ("<think>" if opened else "") + thought + ("</think>" if closed else "") + content


def _token(text: str, logprob: Body, choice: int) -> Token:
    top = tuple(TopToken(t["token"], t["logprob"], t.get("token_id")) for t in logprob.get("top_logprobs") or ())
    return Token(text, logprob.get("token_id"), logprob.get("logprob"), top, choice)


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
        body.get("adapter_hash") or "",
    )
