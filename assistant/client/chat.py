"""One chat request and the events of its answer: the body, and the stream read back."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import httpx

from assistant.adapters.speakers import Speaker
from assistant.client.http import Endpoint, stream, unanswered
from assistant.engine.generate.sampling import Sampling
from assistant.errors import EngineDied
from assistant.events import Event, Prefilled, Token
from assistant.growing import Clock
from assistant.wire.chunks import ChunkReader
from assistant.wire.errors import BadAnswer, error_from
from prompts.message import Message


def request_body(model: str, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    """The fields that every OpenAI-compatible server knows. What equals the API's own default is left out."""
    body: dict[str, Any] = {
        "model": model,
        "messages": messages_body(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.presence_penalty:
        body["presence_penalty"] = sampling.presence_penalty
    if sampling.frequency_penalty:
        body["frequency_penalty"] = sampling.frequency_penalty
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    if sampling.json_schema:
        schema = {"name": "reply", "schema": json.loads(sampling.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def messages_body(messages: Sequence[Message]) -> list[dict[str, str]]:
    """A conversation as all requests say it."""
    return [{"role": message.role, "content": well_formed(message.content)} for message in messages]


def speaker_fields(speaker: Speaker | None) -> dict[str, Any]:
    """The fields that name the speaker; none of them for what is in use."""
    if speaker is None:
        return {}
    return {"adapter": speaker.name, "adapter_hash": speaker.hash or None}


def own_fields(sampling: Sampling, *, continue_final: bool, speaker: Speaker | None = None) -> dict[str, Any]:
    """The fields beyond `request_body` that our own engine understands."""
    alternatives = {"top_logprobs": sampling.top_logprobs} if sampling.top_logprobs else {}
    return {
        **speaker_fields(speaker),
        **alternatives,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "logprobs": True,
        "continue_final_message": continue_final,
        "truncation": "oldest",
        "stream_options": {"include_usage": True, "include_events": True},
    }


async def events(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Any], endpoint: Endpoint, reader: ChunkReader
) -> AsyncGenerator[Event]:
    """The events of a streamed answer, as they come. Raises what an error in the stream stands for."""
    async with aclosing(stream(http, path, body, endpoint)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, dict) and chunk.get("error"):
                raise error_from(chunk)
            try:
                read = reader.read(chunk)
            except BadAnswer as error:
                raise unanswered(error, endpoint, begun=True) from error
            for event in read:
                yield event


async def answer(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Any], endpoint: Endpoint, *, dropped_messages: int = 0
) -> AsyncGenerator[Event]:
    """The events of one reply: `Loading`s, one `Prefilled`, `Token`s, `Finished`.

    A server that says nothing of its prefill gets a `Prefilled` with `dropped_messages`; one that says nothing of its
    timing is timed from here. Raises `EngineDied` where the stream ends before the reply does.
    """
    reader, prefilled, clock = ChunkReader(), False, Clock()
    async with aclosing(events(http, path, body, endpoint, reader)) as said:
        async for event in said:
            if isinstance(event, Token):
                clock.token()
                if not prefilled:
                    yield Prefilled(0, dropped_messages=dropped_messages, read_s=clock.elapsed_s)
            prefilled = prefilled or isinstance(event, Prefilled | Token)
            yield event
    if reader.reason is None:
        raise EngineDied(f"{endpoint.name} ended the answer before it was finished. Ask again.")
    if not prefilled:
        yield Prefilled(0, dropped_messages=dropped_messages, read_s=clock.elapsed_s)
    for event in reader.finished(clock.timing()):
        yield event


def well_formed(text: str) -> str:
    """`text` with U+FFFD for lone surrogates, which no tokenizer can read and UTF-8 can't carry."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
