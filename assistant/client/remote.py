"""A model that another server runs: vLLM, llama.cpp, Ollama, LM Studio, or a service."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from assistant.client.chat import answer, request_body
from assistant.client.http import REMOTE_SILENCE_S, Endpoint, connect
from assistant.engine.generate.sampling import Sampling
from assistant.errors import ContextExceeded
from assistant.events import Event
from prompts.message import Message

KEPT_AFTER_REFUSAL = 0.75
"""Share of the conversation that is sent again where the server doesn't say how much is too much."""


def base_url(url: str) -> str:
    """What comes before `/chat/completions`: `url`, with `/v1` where it names a server alone."""
    bare = url.rstrip("/")
    return bare if "/" in bare.partition("://")[2] else bare + "/v1"


async def chat(
    endpoint: Endpoint, model: str, messages: Sequence[Message], sampling: Sampling
) -> AsyncGenerator[Event]:
    """The events of the reply. Where the server finds the prompt too long, the oldest turns are left out and it is
    asked again; `Prefilled.dropped_messages` counts them.

    Raises `ContextExceeded` when not even the last turn fits, and what `assistant.client.chat.answer` raises.
    """
    kept = list(messages)
    async with connect(endpoint, silence_s=REMOTE_SILENCE_S) as http:
        while True:
            body = request_body(model, kept, sampling)
            reply = answer(http, "chat/completions", body, endpoint, dropped_messages=len(messages) - len(kept))
            try:
                async with aclosing(reply) as events:
                    async for event in events:
                        yield event
                return
            except ContextExceeded as refusal:
                shorter = without_oldest(kept, _share(str(refusal)))
                if len(shorter) == len(kept):
                    raise
                kept = shorter


def without_oldest(messages: Sequence[Message], share: float) -> list[Message]:
    """`messages` without as many of the oldest turns as it takes to keep `share` of their characters, at least one.

    A turn is a user's message with the replies to it. System messages at the start and the last turn always stay.
    """
    first = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    starts = [i for i, message in enumerate(messages) if i > first and message.role == "user"]
    length = sum(len(message.content) for message in messages)
    for start in starts:
        kept = [*messages[:first], *messages[start:]]
        if start == starts[-1] or sum(len(message.content) for message in kept) <= share * length:
            return kept
    return list(messages)


def _share(refusal: str) -> float:
    """How much of the prompt may stay, from a sentence that names the limit and what was asked for."""
    numbers = sorted({int(number) for number in re.findall(r"\d+", refusal.replace(",", "")) if int(number) >= 100})
    if len(numbers) < 2:
        return KEPT_AFTER_REFUSAL
    return min(KEPT_AFTER_REFUSAL, 0.9 * numbers[0] / numbers[-1])
