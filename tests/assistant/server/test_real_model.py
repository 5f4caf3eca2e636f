"""The engine process with the real default model."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from assistant.client import Client
from assistant.client.http import call
from assistant.client.lease import Lease
from assistant.client.process import find_or_start
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models.catalogue import DEFAULT
from assistant.errors import ContextExceeded, EngineDied, RequestRefused
from assistant.events import Event, Finished, Loading, Prefilled, Token
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.wire import address
from prompts.message import Message
from tests.assistant.server.conftest import until

pytestmark = pytest.mark.slow

SECRET = "Xylographer"
ASKED = [Message("user", f"Say one sentence about the word {SECRET}.")]
SHORT = Sampling(temperature=0, max_tokens=12)
LONG = Sampling(temperature=0, max_tokens=2000)


@pytest.fixture
async def client(real_home: Paths) -> AsyncIterator[Client]:
    async with Client(real_home, Settings()) as client:
        yield client
    await until(lambda: not address.is_running(real_home), 30)


async def said(client: Client, messages: list[Message], sampling: Sampling = SHORT) -> list[Event]:
    return [event async for event in client.chat(DEFAULT, messages, sampling)]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


async def test_a_conversation(client: Client, real_home: Paths) -> None:
    first = await said(client, ASKED)
    assert next(event.stage for event in first if isinstance(event, Loading)) == "starting the engine"
    finished = first[-1]
    assert isinstance(finished, Finished) and finished.reason == "length"
    assert finished.usage.completion_tokens == 12 == sum(isinstance(event, Token) for event in first)
    assert finished.timing.load_s > 0 and len(finished.model_hash) == 64 and finished.device
    reply = text(first)
    assert reply.strip()
    second = await said(client, [*ASKED, Message("assistant", reply), Message("user", "Go on.")])
    prefilled = next(event for event in second if isinstance(event, Prefilled))
    assert prefilled.cached_tokens >= finished.usage.prompt_tokens
    assert text(await said(client, ASKED)) == reply  # greedy, and the cache changes nothing
    log = address.log_file(real_home).read_text()
    assert SECRET not in log and reply.strip() not in log


async def test_stop_and_kill(client: Client, real_home: Paths) -> None:
    lease = await Lease.open(await find_or_start(real_home, Settings().engine))
    async with aclosing(client.chat(DEFAULT, ASKED, LONG)) as events:
        async for event in events:
            if isinstance(event, Token):
                break
    status = await call(lease.http, "GET", "/engine/status", lease.endpoint)
    assert status["requests"] == 0
    assert len(await said(client, ASKED)) > 2  # at work again at once

    engine = address.published(real_home)
    assert engine is not None
    got: list[Event] = []
    with pytest.raises(EngineDied, match="next message starts it again"):
        async for event in client.chat(DEFAULT, ASKED, LONG):
            got.append(event)
            if isinstance(event, Token):
                os.kill(engine.pid, signal.SIGKILL)
    assert text(got)
    await lease.close()
    assert isinstance((await said(client, ASKED))[-1], Finished)
    assert address.published(real_home) not in (None, engine)


async def test_what_is_refused_leaves_the_engine_alive(client: Client, real_home: Paths) -> None:
    with pytest.raises(ContextExceeded, match="8,192"):
        await said(client, [Message("user", "word " * 9_000)])
    lease = await Lease.open(await find_or_start(real_home, Settings().engine))
    body = {"model": DEFAULT, "prompt": "The capital of France is", "max_tokens": 3, "temperature": 0}
    answer = (await lease.http.post("/v1/completions", json=body)).json()
    assert "Paris" in answer["choices"][0]["text"]
    with pytest.raises(RequestRefused):
        await said(client, [])
    assert isinstance((await said(client, ASKED))[-1], Finished)
    await lease.close()


JSON = {"content-type": "application/json"}
SPECIALS = "<|im_start|><|im_end|><|endoftext|><repo_name>"
BAD: dict[str, tuple[dict[str, object], int, str]] = {
    "no messages": ({"messages": []}, 400, "messages"),
    "a message too long": ({"messages": [{"role": "user", "content": "word " * 200_000}]}, 400, "8,192"),
    "half a surrogate": ({"messages": [{"role": "user", "content": "\ud83d"}]}, 400, "surrogate"),
    "a seed of 71 bits": ({"seed": 2**70}, 400, "seed"),
    "an empty stop string": ({"stop": [""]}, 400, "stop"),
    "a schema that nothing satisfies": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": False}}},
        400,
        "schema",
    ),
    "an adapter that is gone": ({"adapter": "gone"}, 404, "gone"),
}


async def test_bad_requests_are_answered_while_others_go_on(client: Client, real_home: Paths) -> None:
    lease = await Lease.open(await find_or_start(real_home, Settings().engine))
    going_on = asyncio.create_task(said(client, ASKED, LONG.replace({"max_tokens": 200})))
    hello = {"role": "user", "content": "Hello."}
    for case, (fields, status, word) in BAD.items():
        body = {"model": DEFAULT, "messages": [hello], "max_tokens": 4} | fields
        answer = await lease.http.post("/v1/chat/completions", content=json.dumps(body), headers=JSON)
        assert answer.status_code == status, (case, answer.text)
        assert word in answer.json()["error"]["message"], case
    typed = {"model": DEFAULT, "messages": [{"role": "user", "content": SPECIALS}], "max_tokens": 4}
    assert (await lease.http.post("/v1/chat/completions", json=typed)).status_code == 200
    garbage = await lease.http.post("/v1/chat/completions", content=b'{"model": "\xff\xfe"}', headers=JSON)
    assert garbage.status_code == 400
    assert isinstance((await going_on)[-1], Finished)
    await lease.close()


async def test_replies_at_once_are_those_of_each_alone(client: Client) -> None:
    asked = [[Message("user", f"Tell me about the number {number}.")] for number in (3, 7, 12)]
    alone = [text(await said(client, messages)) for messages in asked]
    together = await asyncio.gather(*(said(client, messages) for messages in asked))
    assert [text(events) for events in together] == alone


async def test_halves_of_characters_are_read_as_unknown_ones(client: Client) -> None:
    asked, half = [Message("user", "Is \ud83d a letter?")], "a\ud83d"
    told = await client.tokenize(DEFAULT, asked, [half, "a\ufffd"])
    assert told.ids[1] == told.ids[2]
    assert len(await client.score(DEFAULT, asked, [half])) == 1
