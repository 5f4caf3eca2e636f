"""Errors survive the wire as what they are; those of other servers are understood."""

from typing import Any

import pytest

from assistant.engine.generate.sampling import SamplingError
from assistant.errors import (
    AssistantError,
    ContextExceeded,
    ModelIncomplete,
    ModelTooLarge,
    ModelUnknown,
    RequestRefused,
)
from assistant.wire.errors import InvalidRequest, error_from, refusal


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ContextExceeded("The prompt has 9 tokens, the context 8."), 400),
        (ModelUnknown("No model 'x'."), 404),
        (ModelIncomplete("config.json is missing."), 400),
        (ModelTooLarge("It needs 9 GB."), 400),
        (RequestRefused("Out of memory.", code="out_of_memory", status=500), 500),
    ],
)
def test_errors_survive_the_wire(error: AssistantError, status: int) -> None:
    answered, body = refusal(error)
    again = error_from(body, answered)
    assert (answered, type(again), str(again)) == (status, type(error), str(error))


@pytest.mark.parametrize(
    ("error", "param"),
    [
        (SamplingError("seed is 7.5, but must be a whole number."), "seed"),
        (InvalidRequest("No.", param="messages.0"), "messages.0"),
    ],
)
def test_a_bad_request_names_the_field(error: AssistantError, param: str) -> None:
    status, body = refusal(error)
    assert (status, body["error"]["type"], body["error"]["param"]) == (400, "invalid_request_error", param)


@pytest.mark.parametrize(
    "body",
    [
        # vLLM, llama.cpp, LM Studio, OpenAI
        {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400},
        {"error": {"code": 400, "message": "the request exceeds it", "type": "exceed_context_size_error"}},
        {"error": "Trying to keep the first 5 tokens when the context overflows."},
        {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}},
    ],
)
def test_a_context_exceeded_elsewhere(body: Any) -> None:
    assert isinstance(error_from(body, 400), ContextExceeded)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "No \x1b[31mred\n text"}}, "No red text"),
        ({"error": "model not found"}, "model not found"),
        ({"detail": "Not Found"}, "Not Found"),
        ("Bad gateway", "Bad gateway"),
        ({"error": {}}, "The server answered with HTTP status 502."),
        ([], "The server answered with HTTP status 502."),
        (None, "The server answered with HTTP status 502."),
    ],
)
def test_other_forms_of_errors(body: Any, text: str) -> None:
    error = error_from(body, 502)
    assert (type(error), str(error)) == (RequestRefused, text)
