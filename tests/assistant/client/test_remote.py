"""Other vendors' servers, played by the fake one: no extensions, keys, limits and manners of their own."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from assistant.client import Client, Endpoint
from assistant.client.remote import base_url, chat, without_oldest
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.errors import (
    AssistantError,
    ContextExceeded,
    EngineDied,
    EngineUnreachable,
    ModelUnknown,
    RequestRefused,
)
from assistant.events import Event, Finished, Prefilled, Token, Usage
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.wire import address
from prompts.message import Message
from tests.fake_engine import Die, Fail, FakeEngine, Raw, Reply, Script

TOO_LONG = Fail("This model's maximum context length is 4096 tokens. However, you requested 8000 tokens.", "400", 400)


@pytest.fixture
def server() -> Iterator[FakeEngine]:
    with FakeEngine(plain=True, key="sk-1") as server:
        yield server


def endpoint(server: FakeEngine) -> Endpoint:
    return replace(server.endpoint, url=base_url(server.endpoint.url))


def conversation(turns: int) -> list[Message]:
    said = [Message("system", "Be brief.")]
    for number in range(turns):
        said += [Message("user", f"{number} question"), Message("assistant", f"{number} answer")]
    return [*said, Message("user", "last question")]


async def ask(server: FakeEngine, messages: list[Message] | None = None, at: Endpoint | None = None) -> list[Event]:
    said = messages or [Message("user", "Hi")]
    return [event async for event in chat(at or endpoint(server), "vendor/m", said, Sampling(seed=5, stop=("END",)))]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


async def test_a_plain_server(server: FakeEngine) -> None:
    server.enqueue(Reply("Good day to you."))
    prefilled, *tokens, finished = await ask(server)
    assert prefilled == Prefilled(0)
    assert text(tokens) == "Good day to you."
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage, finished.model_hash) == ("stop", Usage(10, 4), "")
    assert 0 < finished.timing.first_token_s <= finished.timing.total_s  # measured here
    assert server.requests == [
        {
            "model": "vendor/m",
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.7,
            "top_p": 0.9,
            "max_tokens": 1024,
            "seed": 5,
            "stop": ["END"],
        }
    ]


async def test_reasoning_is_between_tags(server: FakeEngine) -> None:
    server.enqueue(Reply("Four.", reasoning="Two and two."))
    assert text(await ask(server)) == "<think>Two and two.</think>Four."


@pytest.mark.parametrize(
    ("script", "error", "sentence"),
    [
        (Fail("The model `x` does not exist.", "model_not_found", 404), ModelUnknown, "does not exist"),
        (Fail("Rate limit reached.", "rate_limit_exceeded", 429), RequestRefused, "Rate limit"),
        (Fail("Overloaded.", pieces="Some text"), RequestRefused, "Overloaded"),
        (Die(after=1), EngineDied, "went away in the middle of the answer"),
        (Raw(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'), EngineDied, "before it was finished"),
        (Raw(b"data: {oops\n\n"), RequestRefused, "no JSON"),
        (Raw(b"<html>Welcome to nginx</html>", "text/html"), EngineDied, "before it was finished"),
    ],
)
async def test_failures(server: FakeEngine, script: Script, error: type[AssistantError], sentence: str) -> None:
    server.enqueue(script)
    with pytest.raises(error, match=sentence):
        await ask(server)


async def test_a_stream_that_ends_without_saying_so(server: FakeEngine) -> None:
    chunks = [{"choices": [{"delta": {"content": "a"}}]}, {"choices": [{"delta": {}, "finish_reason": "length"}]}]
    server.enqueue(Raw(b"\n\n".join(b"data: " + json.dumps(chunk).encode() for chunk in chunks)))
    events = await ask(server)
    assert (text(events), events[-1].reason) == ("a", "length")  # type: ignore[union-attr]


@pytest.mark.parametrize("key", [None, "sk-2", "schlüssel"])
async def test_a_wrong_key(server: FakeEngine, key: str | None) -> None:
    with pytest.raises(RequestRefused, match=r"refused the key \(HTTP 401\): Incorrect API key") as raised:
        await ask(server, at=replace(endpoint(server), key=key))
    assert (raised.value.status, raised.value.code) == (401, "invalid_api_key")


async def test_nobody_listens(server: FakeEngine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EngineUnreachable, match=f"The server at http://127.0.0.1:{port}/v1 can't be reached"):
        await ask(server, at=Endpoint(f"http://127.0.0.1:{port}/v1"))


@pytest.mark.parametrize("url", ["ftp://host/v1", "http://", "nonsense", "http://host:99999/v1", "http://[/v1"])
async def test_no_address_at_all(server: FakeEngine, url: str) -> None:
    with pytest.raises(EngineUnreachable, match=r"address|can't be reached"):
        await ask(server, at=Endpoint(url))


async def test_the_oldest_turns_are_left_out_until_it_fits(server: FakeEngine) -> None:
    server.enqueue(TOO_LONG, TOO_LONG, Reply("Fits."))
    said = conversation(20)
    events = await ask(server, said)
    asked = [[message["content"] for message in request["messages"]] for request in server.requests]
    assert [contents[0] for contents in asked] == ["Be brief."] * 3
    assert [contents[-1] for contents in asked] == ["last question"] * 3
    assert all(request["messages"][1]["role"] == "user" for request in server.requests)
    assert len(asked[0]) > len(asked[1]) > len(asked[2]) > 2
    assert events[0] == Prefilled(0, dropped_messages=len(said) - len(asked[2]))


async def test_a_last_turn_that_doesn_t_fit(server: FakeEngine) -> None:
    server.enqueue(*[TOO_LONG] * 9)
    with pytest.raises(ContextExceeded, match="maximum context length"):
        await ask(server, conversation(2))
    assert [len(request["messages"]) for request in server.requests] == [6, 2]


@pytest.mark.parametrize(
    ("share", "kept"), [(0.99, "S u1 a1 u2 a2 u3"), (0.75, "S u1 a1 u2 a2 u3"), (0.6, "S u2 a2 u3"), (0.01, "S u3")]
)
def test_whole_turns_are_left_out(share: float, kept: str) -> None:
    roles = {"S": "system", "u": "user", "a": "assistant"}
    said = [Message(roles[name[0]], name) for name in ["S", "u0", "a0", "u1", "a1", "u2", "a2", "u3"]]  # type: ignore[arg-type]
    assert " ".join(message.content for message in without_oldest(said, share)) == kept


@pytest.mark.parametrize("said", [[], [Message("system", "S")], conversation(0), [Message("assistant", "a")]])
def test_nothing_can_be_left_out(said: list[Message]) -> None:
    assert without_oldest(said, 0.1) == said


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://api.example/openai/v1", "https://api.example/openai/v1"),
    ],
)
def test_the_base_of_an_address(url: str, base: str) -> None:
    assert base_url(url) == base


async def test_a_remote_model_is_a_model_like_the_others(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", "sk-1")
    with FakeEngine(plain=True, key="sk-1") as server:
        catalogue.add_remote(home, catalogue.Remote("theirs", server.endpoint.url, "vendor/m", key_env="VENDOR_KEY"))
        async with Client(home, Settings()) as client:
            events = [event async for event in client.chat("theirs", [Message("user", "Hi")], Sampling())]
            assert [event async for event in client.load("theirs")] == []
            assert not client.attached  # no engine process for a model elsewhere
    assert text(events) == "Hello."
    assert server.requests[0]["model"] == "vendor/m"
    assert not address.is_running(home)


async def test_no_model_of_that_name_starts_nothing(home: Paths) -> None:
    async with Client(home, Settings()) as client:
        with pytest.raises(ModelUnknown):
            await anext(client.chat("no-such-model", [Message("user", "Hi")], Sampling()))
    assert not address.is_running(home)
