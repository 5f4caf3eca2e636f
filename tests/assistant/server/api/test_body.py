"""Requests: what they mean, and what is refused in a sentence that names the field."""

import json
from typing import Any

import pytest

from assistant.engine.generate.sampling import Sampling
from assistant.errors import AssistantError
from assistant.server.api.body import parse
from assistant.server.api.replies import ChatRequest, CompletionRequest
from assistant.wire.errors import InvalidRequest, refusal

HI = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def ask(**fields: Any) -> ChatRequest:
    return parse(json.dumps({**HI, **fields}).encode(), ChatRequest)


def test_nothing_said_is_our_default() -> None:
    assert ask().sampling() == Sampling()
    assert ask(temperature=None, stop=None, n=None, stream_options=None, tools=[]).sampling() == Sampling()


def test_everything_that_can_be_asked_for() -> None:
    asked = ask(
        presence_penalty=1, frequency_penalty=-0.5, logit_bias={"7": -100}, logprobs=True, top_logprobs=4, seed=3, n=2
    )
    sampling = asked.sampling()
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1, -0.5)
    assert (sampling.logit_bias, sampling.top_logprobs) == (((7, -100.0),), 4)
    assert [one.seed for one in asked.samplings()] == [3, 4]


@pytest.mark.parametrize(
    ("asked", "schema"),
    [
        ({"type": "text"}, ""),
        ({"type": "json_object"}, '{"type": "object"}'),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "number"}}}, '{"type": "number"}'),
    ],
)
def test_response_formats(asked: dict[str, Any], schema: str) -> None:
    assert ask(response_format=asked).sampling().json_schema == schema


def test_unknown_fields_are_ignored() -> None:
    assert ask(user="me", n=1, frequency_penalty=0, response_format={"type": "text"}, x_mine=1).model == "m"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content.0.type",
        ),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": 2**70}, "seed"),
        ({"seed": True}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"tools": [{}]}, None),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"top_logprobs": 3}, None),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"continue_final_message": True}, None),
        ({"truncation": "newest"}, "truncation"),
    ],
)
def test_what_is_refused(change: dict[str, Any], param: str | None) -> None:
    with pytest.raises(AssistantError) as raised:
        ask(**change).sampling()
    status, body = refusal(raised.value)
    assert (status, body["error"]["type"], body["error"]["param"]) == (400, "invalid_request_error", param)
    assert next(iter(change)) in body["error"]["message"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
    ],
    ids=["empty", "half", "list", "number", "not UTF-8", "lone surrogate", "huge number", "deep"],
)
def test_bodies_that_are_no_request(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(content, ChatRequest)


@pytest.mark.parametrize("prompt", [["a", "b"], [], 7, None, [1, 2], "\ud800"])
def test_a_prompt_is_one_text(prompt: Any) -> None:
    with pytest.raises(InvalidRequest, match="prompt"):
        parse(json.dumps({"model": "m", "prompt": prompt}).encode(), CompletionRequest)
