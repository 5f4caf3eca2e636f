"""Server-sent events: JSON values <-> bytes (WHATWG HTML, section 9.2). Only `data` fields carry meaning here."""

import json
from typing import Any

from assistant.wire.errors import BadAnswer

DONE = b"data: [DONE]\n\n"
"""The last line of an OpenAI stream."""

COMMENT = b": still here\n\n"
"""Ignored by every reader; keeps the connection in use while there is nothing to say."""


def frame(value: Any) -> bytes:
    """`value` as one event. Pure ASCII: many readers take U+2028 or U+0085 inside the JSON for the end of a line."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


class Unframe:
    """Bytes in pieces of any size -> JSON values. `done` is set by `[DONE]`; what follows it is ignored."""

    def __init__(self) -> None:
        self.done = False
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[Any]:
        """The values that `piece` completes. Raises `BadAnswer` for an event that is not JSON."""
        # A CR at the end may be half of a CRLF: it waits for what follows.
        text = self._rest + piece
        lines = text.splitlines(keepends=True)
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        return self._read(lines)

    def end(self) -> list[Any]:
        """The value of a last event that lacks its blank line, if any. Some servers end so."""
        lines, self._rest = [self._rest, b"\n"], b""
        return self._read(lines)

    def _read(self, lines: list[bytes]) -> list[Any]:
        values: list[Any] = []
        for line in lines:
            if self.done:
                break
            name, _, content = line.rstrip(b"\r\n").partition(b":")
            if name == b"data":
                self._data.append(content.removeprefix(b" "))
            elif not name and not content and self._data:
                values += self._value()
        return values

    def _value(self) -> list[Any]:
        data, self._data = b"\n".join(self._data), []
        if data.strip() == b"[DONE]":
            self.done = True
            return []
        try:
            return [json.loads(data)]
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"an event that is no JSON: {data[:80].decode(errors='replace')!r}") from error
