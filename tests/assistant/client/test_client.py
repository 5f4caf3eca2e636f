"""The client against the scripted engine: the real wire format over a real socket."""

from contextlib import aclosing

import pytest

from assistant.client import Client, Endpoint
from assistant.engine.generate.sampling import Sampling
from assistant.errors import (
    AssistantError,
    ContextExceeded,
    EngineDied,
    EngineUnreachable,
    ModelUnknown,
    RequestRefused,
)
from assistant.events import Event, Finished, Loading, Prefilled, Timing, Token, Usage
from assistant.paths import Paths
from assistant.settings import Settings
from prompts.message import Message
from tests.assistant.server.conftest import until
from tests.fake_engine import Die, Fail, FakeEngine, Raw, Reply, Script

HI = [Message("user", "Hi")]
GREEDY = Sampling(temperature=0)


async def ask(client: Client, messages: list[Message] = HI) -> list[Event]:
    return [event async for event in client.chat("fake", messages, GREEDY)]


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


async def test_what_is_asked(home: Paths) -> None:
    sampling = Sampling(0.5, 0.8, 7, 0.1, 1.2, 99, 5, ("END",))
    messages = [Message("system", "S"), Message("user", "\ud83d\ude00 \ud800 \0"), Message("assistant", "A")]
    with FakeEngine() as engine:
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            async for _ in client.chat("m", messages, sampling, continue_final=True):
                pass
    assert engine.requests == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "😀 \ufffd \0"},
                {"role": "assistant", "content": "A"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True, "include_events": True},
            "temperature": 0.5,
            "top_p": 0.8,
            "top_k": 7,
            "min_p": 0.1,
            "repetition_penalty": 1.2,
            "max_tokens": 99,
            "seed": 5,
            "stop": ["END"],
            "logprobs": True,
            "continue_final_message": True,
            "truncation": "oldest",
        }
    ]


@pytest.mark.parametrize(
    ("script", "error", "sentence"),
    [
        (Fail("The prompt is too long.", "context_length_exceeded", 400), ContextExceeded, "too long"),
        (Fail("No such model.", "model_not_found", 404), ModelUnknown, "No such model"),
        (Fail("Out of memory.", "out_of_memory", pieces="Some text"), RequestRefused, "Out of memory"),
        (Die(), EngineDied, "The engine process went away"),
        (Die(after=2), EngineDied, "went away in the middle of the answer"),
        (Raw(b"data: <html>\n\n"), RequestRefused, "no JSON"),
        (Raw(b'data: {"choices": 7}\n\n'), RequestRefused, "not of the OpenAI form"),
        (Raw(b""), EngineDied, "before it was finished"),
    ],
)
async def test_failures_are_what_they_are(
    home: Paths, script: Script, error: type[AssistantError], sentence: str
) -> None:
    with FakeEngine() as engine:
        engine.enqueue(script)
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            with pytest.raises(error, match=sentence):
                await ask(client)
            assert text(await ask(client)) == "Hello."  # the next one works


async def test_what_came_before_a_failure_is_there(home: Paths) -> None:
    with FakeEngine() as engine:
        engine.enqueue(Die(after=2, pieces="one two three"))
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            events: list[Event] = []
            with pytest.raises(EngineDied):
                async for event in client.chat("fake", HI, GREEDY):
                    events.append(event)  # noqa: PERF401  what came before the error counts
    assert text(events) == "one two"


async def test_closing_the_iterator_stops_the_engine(home: Paths) -> None:
    with FakeEngine() as engine:
        engine.enqueue(Reply(["word "] * 1000, delay_s=0.02))
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            async with aclosing(client.chat("fake", HI, GREEDY)) as events:
                async for event in events:
                    if isinstance(event, Token):
                        break
            sent = engine.sent[0]
            await until(lambda: engine.idle)
            assert engine.sent[0] <= sent + 1


async def test_a_reply_that_holds_goes_on_when_released(home: Paths) -> None:
    with FakeEngine() as engine:
        engine.enqueue(Reply("one two three", hold_after=2))
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            events = client.chat("fake", HI, GREEDY)
            said = [await anext(events) for _ in range(3)]
            assert text(said) == "one two"
            engine.release()
            assert text([event async for event in events]) == " three"


async def test_models_and_load(home: Paths) -> None:
    with FakeEngine(models=("a", "b")) as engine:
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            assert await client.models() == ["a", "b"]
            assert [event async for event in client.load("a")] == [Loading("loading a")]
            assert engine.leases == 1
            assert client.attached
        await until(lambda: engine.leases == 0)


async def test_no_engine_there(home: Paths) -> None:
    async with Client(home, Settings(), engine=Endpoint("http://engine", home.run / "none.sock", own=True)) as client:
        with pytest.raises(EngineUnreachable, match=r"The engine process can't be reached"):
            await ask(client)
        assert not client.attached


async def test_a_long_answer_is_read_as_fast_as_it_comes(home: Paths) -> None:
    pieces = [f"word{number} " for number in range(3000)]
    with FakeEngine() as engine:
        engine.enqueue(Reply(pieces))
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            assert text(await ask(client)) == "".join(pieces)


async def test_two_replies_at_once_over_one_client(home: Paths) -> None:
    with FakeEngine() as engine:
        engine.enqueue(Reply("one two three", hold_after=1), Die(after=1), Reply("four five"))
        async with Client(home, Settings(), engine=engine.endpoint) as client:
            slow = client.chat("fake", HI, GREEDY)
            said = [await anext(slow), await anext(slow)]
            with pytest.raises(EngineDied):
                await ask(client)
            assert text(await ask(client)) == "four five"  # over a new lease
            engine.release()
            with pytest.raises(EngineDied):  # its engine died, as far as anyone can tell
                said += [event async for event in slow]
            assert client.attached
