"""The OpenAI API, asked as the official client and others ask it."""

import asyncio
from array import array
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from assistant.client.chat import answer
from assistant.errors import ContextExceeded
from assistant.events import Event, Finished, Loading, Prefilled, Token, Usage
from assistant.wire.sse import Unframe
from prompts.message import Message
from tests.assistant.server.conftest import Service, until

HI = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
STREAM = {**HI, "stream": True}
EVENTS = {**STREAM, "logprobs": True, "stream_options": {"include_usage": True, "include_events": True}}


async def post(service: Service, body: Any, path: str = "/v1/chat/completions") -> tuple[int, Any]:
    response = await service.http.post(path, json=body)
    return response.status_code, response.json()


async def streamed(service: Service, body: Any, path: str = "/v1/chat/completions") -> list[Any]:
    unframe = Unframe()
    response = await service.http.post(path, json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = unframe.feed(response.content)
    assert unframe.done
    return chunks


async def events(service: Service, body: Any = EVENTS) -> list[Event]:
    return [event async for event in answer(service.http, "/v1/chat/completions", body, service.endpoint)]


async def test_a_whole_answer(service: Service) -> None:
    status, body = await post(service, HI)
    assert status == 200
    assert (body["object"], body["model"]) == ("chat.completion", "m")
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "one two three"}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["prompt_tokens"] == 3 and body["usage"]["completion_tokens"] == 3


async def test_a_stream_as_the_official_client_asks_for_it(service: Service) -> None:
    chunks = await streamed(service, {**STREAM, "stream_options": {"include_usage": True}, "user": "me", "n": 1})
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[:-1]] == ["", "one", " two", " three", None]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 6)
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_without_being_asked_every_chunk_has_a_choice(service: Service) -> None:
    assert all(chunk["choices"] for chunk in await streamed(service, STREAM))


async def test_our_own_client_is_told_everything(service: Service) -> None:
    *said, finished = await events(service)
    assert said == [
        Loading("loading m"),
        Loading("reading weights", 0.5),
        Prefilled(3, context_tokens=8),
        *(Token(word, 1, -0.5) for word in ("one", " two", " three")),
    ]
    assert isinstance(finished, Finished) and finished.timing.load_s > 0
    assert finished == Finished("stop", Usage(3, 3), finished.timing, seed=7)


async def test_a_model_that_is_held_is_not_loaded_again(service: Service) -> None:
    await events(service)
    again = await events(service)
    assert not [event for event in again if isinstance(event, Loading)]
    assert isinstance(again[-1], Finished) and again[-1].timing.load_s == 0
    assert service.loaded == ["m"] and not service.engine.closed
    await post(service, {**HI, "model": "other"})
    assert service.loaded == ["m", "other"] and service.engine.closed


async def test_a_completion(service: Service) -> None:
    status, body = await post(service, {"model": "m", "prompt": "Once", "max_tokens": 5}, "/v1/completions")
    assert (status, body["object"], body["choices"][0]["text"]) == (200, "text_completion", "one two three")
    chunks = await streamed(service, {"model": "m", "prompt": ["Once"], "stream": True}, "/v1/completions")
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["one", " two", " three", ""]


async def test_what_is_asked_reaches_the_engine(service: Service) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    status, _ = await post(
        service,
        {
            "model": "m",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": parts},
                {"role": "assistant", "content": "I "},
            ],
            "temperature": 0,
            "top_k": 5,
            "min_p": 0.1,
            "max_completion_tokens": 9,
            "stop": "END",
            "seed": None,
            "continue_final_message": True,
            "truncation": "refuse",
        },
    )
    assert status == 200
    assert service.engine.asked == [[Message("system", "Be brief."), Message("user", "ab"), Message("assistant", "I ")]]
    assert service.engine.options == {"continue_final": True, "drop_oldest": False}
    sampling = service.engine.sampling
    assert sampling is not None
    assert (sampling.temperature, sampling.top_k, sampling.min_p, sampling.max_tokens) == (0, 5, 0.1, 9)
    assert (sampling.stop, sampling.seed) == (("END",), None)


async def test_a_bad_request_is_refused_in_the_api_s_form(service: Service) -> None:
    status, body = await post(service, {**HI, "seed": 2**70})
    assert (status, body["error"]["type"], body["error"]["param"]) == (400, "invalid_request_error", "seed")
    response = await service.http.post(
        "/v1/chat/completions", content=b'{"model": "\xff"}', headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_value")
    assert service.engine.stepped == 0


async def test_a_message_of_a_megabyte(service: Service) -> None:
    text = "鲸鱼 " * 350_000
    status, _ = await post(service, {"model": "m", "messages": [{"role": "user", "content": text}]})
    assert status == 200
    assert service.engine.asked[0][0].content == text


async def test_a_body_without_an_end_is_not_read_for_ever(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.server.api.body.MOST_BYTES", 1000)
    status, body = await post(service, {"model": "m", "messages": [{"role": "user", "content": "x" * 2000}]})
    assert (status, body["error"]["code"]) == (413, "too_large")


async def test_models_and_what_there_is_not(service: Service) -> None:
    models = (await service.http.get("/v1/models")).json()
    assert [model["id"] for model in models["data"]] == ["m"]
    status, body = await post(service, {}, "/v1/audio")
    assert status == 404
    assert "/v1/chat/completions" in body["error"]["message"] and "/v1/tokenize" in body["error"]["message"]
    response = await service.http.get("/v1/chat/completions")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "not_found")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_answer_is_an_http_status(service: Service, stream: bool) -> None:
    status, body = await post(service, {**HI, "stream": stream, "model": "unknown"})
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    status, body = await post(
        service, {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "too long"}]}
    )
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (RuntimeError("a shape is wrong"), "server_error"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "out_of_memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "out_of_memory"),
    ],
)
async def test_a_failure_in_the_answer_leaves_the_server_alive(service: Service, raised: Exception, code: str) -> None:
    service.engine.raises = raised
    chunks = await streamed_until_error(service)
    assert chunks[-1]["error"]["code"] == code
    assert chunks[1]["choices"][0]["delta"]["content"] == "one"
    await until(lambda: service.engine.closed)  # its memory is free, and what was half done is gone
    status, body = await post(service, HI)
    assert (status, body["error"]["code"]) == (500, code)
    service.engine.raises = None
    assert (await post(service, HI))[0] == 200


async def streamed_until_error(service: Service) -> list[Any]:
    response = await service.http.post("/v1/chat/completions", json=STREAM)
    return Unframe().feed(response.content)


async def test_a_failure_reaches_our_client_as_what_it_is(service: Service) -> None:
    with pytest.raises(ContextExceeded, match="9 tokens"):
        await events(service, {**EVENTS, "messages": [{"role": "user", "content": "too long"}]})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_engine_within_a_token(service: Service, stream: bool) -> None:
    service.engine.words, service.engine.pause_s = ["word"] * 1000, 0.02
    asking = asyncio.create_task(service.http.post("/v1/chat/completions", json={**HI, "stream": stream}))
    await until(lambda: service.engine.stepped >= 3)
    asking.cancel()
    steps = service.engine.stepped
    await until(lambda: service.engine.running == 0)
    assert service.engine.stepped <= steps + 2  # one under way when it left, one until the socket says so
    await until(lambda: service.worker.requests == 0)


async def test_a_client_that_closes_the_iterator_stops_the_engine(service: Service) -> None:
    service.engine.words, service.engine.pause_s = ["word"] * 1000, 0.2  # time for the close on a busy machine
    reply = answer(service.http, "/v1/chat/completions", EVENTS, service.endpoint)
    async for event in reply:
        if isinstance(event, Token):
            break
    await reply.aclose()
    await until(lambda: service.engine.running == 0)
    assert service.engine.stepped <= 3


async def test_requests_are_served_together(service: Service) -> None:
    service.engine.words, service.engine.pause_s = ["word"] * 20, 0.01
    replies = await asyncio.gather(*(events(service) for _ in range(4)))
    assert service.engine.together == 4
    assert max(service.engine.rounds) == 4, "all in one pass"
    assert all(len([one for one in reply if isinstance(one, Token)]) == 20 for reply in replies)


async def test_no_more_than_some_at_once_and_the_others_in_order(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.server.worker.MOST_AT_ONCE", 2)
    service.engine.pause_s = 0.01
    asking = []
    for number in range(5):
        body = {**EVENTS, "messages": [{"role": "user", "content": str(number)}]}
        asking.append(asyncio.create_task(events(service, body)))
        await until(lambda number=number: service.worker.requests == number + 1)
    replies = await asyncio.gather(*asking)
    assert [messages[0].content for messages in service.engine.asked] == ["0", "1", "2", "3", "4"]
    assert service.engine.together == 2
    assert [reply[0] for reply in replies[2:]] == [Loading("waiting for another reply")] * 3


async def test_another_model_waits_until_the_running_replies_have_ended(service: Service) -> None:
    service.engine.words, service.engine.pause_s = ["word"] * 10, 0.01
    first = asyncio.create_task(events(service))
    await until(lambda: service.engine.running == 1)
    other = asyncio.create_task(events(service, {**EVENTS, "model": "other"}))
    await until(lambda: service.worker.requests == 2)
    third = asyncio.create_task(events(service))
    assert Loading("waiting for another reply") in await other
    await asyncio.gather(first, third)
    assert service.loaded == ["m", "other", "m"]
    assert service.engine.together == 1


async def test_several_answers_to_one_prompt(service: Service) -> None:
    status, body = await post(service, {**HI, "n": 3, "seed": 5})
    assert status == 200
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in body["choices"]} == {"one two three"}
    assert body["usage"]["completion_tokens"] == 9
    assert service.engine.sampling is not None
    assert service.engine.sampling.seed == 7, "the third has a seed of its own"
    chunks = await streamed(service, {**STREAM, "n": 2, "stream_options": {"include_usage": True}})
    said = [c["choices"][0]["index"] for c in chunks if c["choices"] and c["choices"][0]["delta"].get("content")]
    assert sorted(said) == [0, 0, 0, 1, 1, 1]
    assert [len(chunk["choices"]) for chunk in chunks].count(0) == 1, "one usage for both"


async def test_one_answer_that_fails_ends_its_request_and_no_other(service: Service) -> None:
    service.engine.words, service.engine.pause_s = ["word"] * 30, 0.01
    good = asyncio.create_task(events(service))
    await until(lambda: service.engine.stepped >= 2)
    status, body = await post(service, {"model": "m", "messages": [{"role": "user", "content": "too long"}]})
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
    assert isinstance((await good)[-1], Finished)


async def test_alternatives(service: Service) -> None:
    _, body = await post(service, {**HI, "logprobs": True, "top_logprobs": 2})
    content = body["choices"][0]["logprobs"]["content"]
    assert [[top["token"] for top in one["top_logprobs"]] for one in content] == [[w, w] for w in service.engine.words]
    _, body = await post(service, {"model": "m", "prompt": "Once", "logprobs": 1}, "/v1/completions")
    logprobs = body["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["one", " two", " three"]
    assert logprobs["text_offset"] == [0, 3, 7]
    assert logprobs["top_logprobs"] == [{"one": -0.5}, {" two": -0.5}, {" three": -0.5}]


async def test_embeddings(service: Service) -> None:
    _, body = await post(service, {"model": "m", "input": ["a", "b"]}, "/v1/embeddings")
    assert [(one["index"], one["embedding"]) for one in body["data"]] == [(0, [0.6, 0.8]), (1, [0.6, 0.8])]
    assert body["usage"] == {"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4}
    _, body = await post(service, {"model": "m", "input": "a", "encoding_format": "base64"}, "/v1/embeddings")
    assert array("f", b64decode(body["data"][0]["embedding"])).tolist() == pytest.approx([0.6, 0.8])
    assert (await post(service, {"model": "m", "input": []}, "/v1/embeddings"))[0] == 400


async def test_scores(service: Service) -> None:
    _, body = await post(service, {**HI, "continuations": ["ab", "c"]}, "/v1/score")
    assert [(one["text"], one["logprob"]) for one in body["data"]] == [("ab", -1.0), ("c", -0.5)]
    assert (await post(service, {**HI, "continuations": [""]}, "/v1/score"))[0] == 400


async def test_tokens(service: Service) -> None:
    _, body = await post(service, {**HI, "prompt": ["ab"]}, "/v1/tokenize")
    assert body["data"][1] == {"index": 1, "count": 2, "tokens": [97, 98], "token_strs": ["a", "b"]}
    assert body["max_model_len"] == 8
    assert (await post(service, {"model": "m"}, "/v1/tokenize"))[0] == 400


async def test_adapters_by_name(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "adapters" / "mine"
    folder.mkdir(parents=True)
    status, body = await post(service, {**HI, "adapter": "mine"})
    assert (status, body["error"]["code"], body["error"]["param"]) == (404, "adapter_not_found", "adapter")
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert (await post(service, {**HI, "adapter": "mine"}))[0] == 200
    assert service.engine.adapter == folder
    listed = (await service.http.get("/v1/adapters")).json()
    assert [one["id"] for one in listed["data"]] == ["mine"]
    assert (await post(service, {**HI, "adapter": "../mine"}))[0] == 404


async def test_one_who_leaves_the_queue_is_not_answered(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.server.worker.MOST_AT_ONCE", 1)
    service.engine.words, service.engine.pause_s = ["word"] * 20, 0.01
    first = asyncio.create_task(events(service))
    await until(lambda: service.engine.running == 1)
    second = asyncio.create_task(events(service))
    await until(lambda: service.worker.requests == 2)
    second.cancel()
    await until(lambda: service.worker.requests == 1)
    await first
    assert (await post(service, HI))[0] == 200
    assert len(service.engine.asked) == 2


async def test_a_silent_stream_is_kept_in_use(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.server.stream.COMMENT_EVERY_S", 0.02)
    service.engine.words, service.engine.pause_s = ["one", " two"], 0.15
    response = await service.http.post("/v1/chat/completions", json=STREAM)
    between = response.content.partition(b'"one"')[2].partition(b'" two"')[0]
    assert between.count(b": still here") >= 3
    assert len(Unframe().feed(response.content)) == 4
