"""The client against the scripted engine: the real wire format over a real socket."""

import asyncio
import time
from contextlib import aclosing

import pytest

from assistant.client import Client
from assistant.engine.sampling import Sampling
from assistant.errors import ContextExceeded, EngineDied, ModelTooLarge, RequestRefused
from assistant.events import Event, Finished, Loading, Prefilled, Timing, Token, Usage
from assistant.paths import Paths
from assistant.settings import Settings
from prompts.message import Message
from tests.fake_engine import Die, Fail, FakeEngine, Raw, Reply

HI = [Message("user", "Hi")]


async def ask(client: Client, messages: list[Message] = HI, sampling: Sampling = Sampling()) -> list[Event]:  # noqa: B008
    return [event async for event in client.chat("fake", messages, sampling)]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


async def test_a_reply_arrives_whole(home: Paths) -> None:
    with FakeEngine() as engine:
        engine.enqueue(Reply(["Hel", "lo", " 鲸鱼"], loading=["loading fake"], dropped_messages=2, cached_tokens=4))
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            events = await ask(client)
    assert events == [
        Loading("loading fake"),
        Prefilled(10, 4, 2, 2048),
        Token("Hel", 0, -0.5),
        Token("lo", 1, -0.5),
        Token(" 鲸鱼", 2, -0.5),
        Finished("stop", Usage(10, 3, 4), Timing(0.0, 0.05, 0.25), 7, "f" * 64, "cpu"),
    ]
