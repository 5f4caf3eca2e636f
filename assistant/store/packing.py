"""The tokens of a reply and their log-probabilities as bytes: 3 for a token instead of 8.

Ids take 16 bits where they fit, log-probabilities are half floats (three digits, finer than what 8-bit or 4-bit weights
and bfloat16 leave of them); first all low bytes, then all high ones, so that zlib finds the high ones alike. Logs of
the first versions have plain little-endian 32-bit numbers; they are read as they are, and stay.
"""

import math
import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from typing import Any, Literal

Kind = Literal["i", "f"]
"""Ids, or log-probabilities."""

_TAGS = {1: "H", 2: "i", 3: "e"}
"""The first byte, and what `struct` calls the numbers that follow."""

_HALF_LIMIT = 65504.0


def pack(kind: Kind, numbers: Sequence[float]) -> bytes:
    """The numbers as bytes; none for none."""
    if not numbers:
        return b""
    if kind == "f":
        tag, numbers = 3, [_bounded(number) for number in numbers]
    else:
        tag = 1 if min(numbers) >= 0 and max(numbers) < 2**16 else 2
    plain = struct.pack(f"<{len(numbers)}{_TAGS[tag]}", *numbers)
    width = len(plain) // len(numbers)
    return bytes([tag]) + zlib.compress(b"".join(plain[place::width] for place in range(width)))


def _bounded(number: float) -> float:
    return max(-_HALF_LIMIT, min(number, _HALF_LIMIT)) if math.isfinite(number) else number


def unpack(kind: Kind, packed: bytes) -> list[Any]:
    """The numbers that `pack` was given, log-probabilities rounded."""
    if packed[1:2] == b"\x78" and packed[0] in _TAGS:  # how a stream of zlib's begins
        try:
            planes = zlib.decompress(packed[1:])
        except zlib.error:
            return _plain(kind, packed)
        code = _TAGS[packed[0]]
        width = struct.calcsize(f"<{code}")
        count = len(planes) // width
        plain = bytearray(len(planes))
        for place in range(width):
            plain[place::width] = planes[place * count : (place + 1) * count]
        return list(struct.unpack(f"<{count}{code}", plain))
    return _plain(kind, packed)


def _plain(kind: Kind, packed: bytes) -> list[Any]:
    numbers = array(kind, packed[: len(packed) // 4 * 4])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
