"""Events survive the wire: what the server writes, the client reads back."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.events import Event, Finished, Loading, Prefilled, Timing, Token, TopToken, Usage
from assistant.wire.chunks import ChunkReader, ChunkWriter, Wanted
from assistant.wire.errors import BadAnswer

EVERYTHING = Wanted(logprobs=True, usage=True, events=True)

counts = st.integers(0, 2**40)
seconds = st.floats(0, 1e6)
logprobs = st.floats(-9999, 0)
tokens = st.builds(
    Token,
    st.text(),
    counts,
    logprobs,
    st.lists(st.builds(TopToken, st.text(), logprobs, st.none() | counts), max_size=3).map(tuple),
)
exchanges = st.tuples(
    st.lists(st.builds(Loading, st.text(), st.none() | st.floats(0, 1)), max_size=2),
    st.builds(Prefilled, counts, counts, counts, counts),
    st.lists(tokens, max_size=6),
    st.builds(
        Finished,
        st.sampled_from(["stop", "length", "cancelled"]),
        st.builds(Usage, counts, counts, counts),
        st.builds(Timing, seconds, seconds, seconds),
        st.none() | st.integers(0, 2**63 - 1),
        st.text(),
        st.text(),
    ),
).map(lambda parts: [*parts[0], parts[1], *parts[2], parts[3]])


def writer(wanted: Wanted = EVERYTHING, kind: Any = "chat") -> ChunkWriter:
    return ChunkWriter(kind, request_id="chatcmpl-1", created=5, model="m", wanted=wanted)


def sent(events: list[Event], wanted: Wanted = EVERYTHING, kind: Any = "chat") -> list[dict[str, Any]]:
    out = writer(wanted, kind)
    chunks = [*out.opening(), *(chunk for event in events for chunk in out.chunks(event))]
    return [json.loads(json.dumps(chunk)) for chunk in chunks]


def received(chunks: list[dict[str, Any]]) -> list[Event]:
    reader = ChunkReader()
    events = [event for chunk in chunks for event in reader.read(chunk)]
    return events + reader.finished()


@given(exchanges)
def test_events_survive_the_wire(events: list[Event]) -> None:
    assert received(sent(events)) == events


@given(exchanges, st.sampled_from(["chat", "text"]))
def test_text_and_figures_survive_without_log_probabilities(events: list[Event], kind: str) -> None:
    got = received(sent(events, replace(EVERYTHING, logprobs=False), kind))
    assert "".join(e.text for e in got if isinstance(e, Token)) == "".join(
        e.text for e in events if isinstance(e, Token)
    )
    assert [e for e in got if not isinstance(e, Token)] == [e for e in events if not isinstance(e, Token)]


EVENTS: list[Event] = [
    Loading("x"),
    Prefilled(3),
    Token("a", 1, -0.5),
    Token("", 2, -1.0),
    Finished("stop", Usage(3, 2)),
]


def test_a_plain_client_gets_the_plain_api() -> None:
    chunks = sent(EVENTS, Wanted())
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    choice = {"index": 0, "logprobs": None, "finish_reason": None}
    assert chunks == [
        {**head, "choices": [{**choice, "delta": {"role": "assistant", "content": ""}}]},
        {**head, "choices": [{**choice, "delta": {"content": "a"}}]},
        {**head, "choices": [{**choice, "delta": {}, "finish_reason": "stop"}]},
    ]


def test_a_whole_answer() -> None:
    body = writer().whole(EVENTS)
    choice = body["choices"][0]
    assert body["object"] == "chat.completion"
    assert choice["message"] == {"role": "assistant", "content": "a"}
    assert [entry["token_id"] for entry in choice["logprobs"]["content"]] == [1, 2]
    assert body["usage"]["total_tokens"] == 5
    assert writer(kind="text").whole(EVENTS)["choices"][0]["text"] == "a"


def test_the_impossible_is_a_number() -> None:
    chunk = writer().chunks(Token("a", 1, float("-inf"), (TopToken("b", float("-inf")),)))[0]
    assert "Infinity" not in json.dumps(chunk)


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([delta(reasoning_content="hm"), delta(reasoning_content="m"), delta(content="4")], "<think>hmm</think>4"),
        ([delta(reasoning="hm"), delta(content="", reasoning="m"), delta(content="4")], "<think>hmm</think>4"),
        ([delta(reasoning_content="hm", content="4"), delta(content="2")], "<think>hm</think>42"),
        ([delta(reasoning_content="hm")], "<think>hm</think>"),  # cut off while it thinks
        ([delta(role="assistant", content=None), delta(content="4")], "4"),
        ([{"choices": []}, {}, delta(), {"choices": [{}]}], ""),
    ],
)
def test_what_other_servers_send(chunks: list[dict[str, Any]], text: str) -> None:
    assert "".join(event.text for event in received(chunks) if isinstance(event, Token)) == text


@pytest.mark.parametrize("reason", ["stop", "eos", "tool_calls", "content_filter"])
def test_other_reasons_to_end_are_a_stop(reason: str) -> None:
    assert received([{"choices": [{"delta": {}, "finish_reason": reason}]}]) == [Finished("stop")]


@pytest.mark.parametrize("chunk", [7, [], "x", {"choices": 7}, {"choices": [7]}, delta(content=7), {"event": {"a": 1}}])
def test_what_is_no_chunk(chunk: Any) -> None:
    with pytest.raises(BadAnswer):
        ChunkReader().read(chunk)


@pytest.mark.parametrize("usage", [7, {"prompt_tokens": "x"}, {"prompt_tokens_details": 7}])
def test_what_is_no_usage(usage: Any) -> None:
    reader = ChunkReader()
    reader.read({"choices": [], "usage": usage})
    with pytest.raises(BadAnswer):
        reader.finished()
