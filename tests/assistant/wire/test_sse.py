"""Framing: whatever the pieces a stream arrives in, the same values come out."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.wire.errors import BadAnswer
from assistant.wire.sse import COMMENT, DONE, Unframe, frame

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def unframe(pieces: list[bytes]) -> list[Any]:
    reader = Unframe()
    read = [value for piece in pieces for value in reader.feed(piece)]
    return read + reader.end()


@given(st.lists(values, max_size=5), st.lists(st.integers(0, 400), max_size=8), st.sampled_from([b"\n", b"\r\n"]))
def test_values_survive_any_cut(sent: list[Any], cuts: list[int], newline: bytes) -> None:
    stream = (COMMENT.join(frame(value) for value in sent) + DONE).replace(b"\n", newline)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert unframe(pieces) == sent


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'data: {"a": 1}', [{"a": 1}]),  # ends without a blank line
        (b'data: {"a": 1}\n', [{"a": 1}]),
        (b'data:{"a": 1}\n\n', [{"a": 1}]),  # no space after the colon
        (b'event: message\nid: 7\ndata: {"a":\ndata: 1}\n\n', [{"a": 1}]),  # one value on two lines
        (b": comment\n\nretry: 10\n\n", []),
        ('data: "\u2028\x85"\n\n'.encode(), ["\u2028\x85"]),  # line ends for Python's str, not for the format
        (b"data: 1\n\ndata: [DONE]\n\ndata: 2\n\n", [1]),
        (b"data: 1\r\rdata: 2\r\r", [1, 2]),  # the oldest of line ends
        (b"", []),
    ],
)
def test_what_other_servers_send(stream: bytes, expected: list[Any]) -> None:
    assert unframe([stream]) == expected
    assert unframe([bytes([byte]) for byte in stream]) == expected


def test_no_json_is_said_so() -> None:
    with pytest.raises(BadAnswer, match="no JSON: '<html>"):
        unframe([b"data: <html>\n\n"])


@given(values)
def test_frames_are_one_line_of_ascii(value: Any) -> None:
    content = frame(value).removesuffix(b"\n\n")
    assert content.isascii() and len(content.splitlines()) == 1
    assert json.loads(content.removeprefix(b"data: ")) == value
