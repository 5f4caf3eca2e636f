"""Errors <-> OpenAI's form `{"error": {"message", "type", "code", "param"}}`."""

import re
from typing import Any

from assistant.engine.generate.sampling import SamplingError
from assistant.errors import (
    AdapterError,
    AdapterUnknown,
    AssistantError,
    ChecksumMismatch,
    ContextExceeded,
    DownloadFailed,
    EngineUnreachable,
    ModelBroken,
    ModelError,
    ModelIncomplete,
    ModelTooLarge,
    ModelUnknown,
    ModelUnsupported,
    RequestRefused,
)
from assistant.safe_text import printable, shorten

CONTEXT_EXCEEDED = "context_length_exceeded"
BAD_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"
ENGINE_ENDS = "engine_ends"
"""Code of an engine process that has decided to end: find or start another."""

_MODEL_ERRORS = {
    kind.code: kind
    for kind in (
        ModelError,
        ModelUnknown,
        ModelIncomplete,
        ModelUnsupported,
        ModelTooLarge,
        ModelBroken,
        AdapterError,
        AdapterUnknown,
        DownloadFailed,
        ChecksumMismatch,
    )
}
# OpenAI and our own engine give the code; vLLM, llama.cpp and LM Studio say it in words of their own.
_CONTEXT_WORDS = re.compile(r"maximum context|context (length|size|window)|exceed_context|the context overflows", re.I)


class BadAnswer(ValueError):
    """What came is not what the API promises. The message completes "the server sent …"."""


class InvalidRequest(RequestRefused):
    """A request doesn't say what the API asks for. `param` names the field."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message, code="invalid_value", status=400)
        self.param = param


def error_body(message: str, *, kind: str = BAD_REQUEST, code: str = "", param: str | None = None) -> dict[str, Any]:
    """One error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "code": code or None, "param": param}}


def refusal(error: AssistantError) -> tuple[int, dict[str, Any]]:
    """(HTTP status, body) for an expected error. 4xx where asking again can't help: clients repeat on 5xx."""
    match error:
        case ContextExceeded():
            return 400, error_body(str(error), code=CONTEXT_EXCEEDED, param="messages")
        case InvalidRequest():
            return 400, error_body(str(error), code=error.code, param=error.param)
        case RequestRefused():
            kind = SERVER_ERROR if error.status >= 500 else BAD_REQUEST
            return error.status or 400, error_body(str(error), kind=kind, code=error.code)
        case AdapterError():
            status = 404 if isinstance(error, AdapterUnknown) else 400
            return status, error_body(str(error), code=error.code, param="adapter")
        case ModelUnknown():
            return 404, error_body(str(error), code=error.code, param="model")
        case ModelError():
            return 400, error_body(str(error), code=error.code, param="model")
        case SamplingError():
            return 400, error_body(str(error), code="invalid_value", param=str(error).split(" ", 1)[0])
        case _:
            return 500, error_body(str(error), kind=SERVER_ERROR, code=SERVER_ERROR)


def error_from(body: Any, status: int = 0) -> AssistantError:
    """The exception that an error answer stands for, from our own engine or any other server.

    `body` is the JSON value, or the text where it is no JSON.
    """
    error = body.get("error", body) if isinstance(body, dict) else body
    fields = error if isinstance(error, dict) else {"message": error}
    code = str(fields.get("code") or fields.get("type") or "")
    message = fields.get("message") or fields.get("detail") or ""
    text = shorten(printable(str(message), newlines=False), 600) or f"The server answered with HTTP status {status}."
    if code == CONTEXT_EXCEEDED or (
        status in (0, 400, 413, 500) and _CONTEXT_WORDS.search(f"{fields.get('type')} {message}")
    ):
        return ContextExceeded(text, code=CONTEXT_EXCEEDED, status=status)
    if code == ENGINE_ENDS:
        return EngineUnreachable(text)
    if code in _MODEL_ERRORS:
        return _MODEL_ERRORS[code](text)
    return RequestRefused(text, code=code, status=status)
