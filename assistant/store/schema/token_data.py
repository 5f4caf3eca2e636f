"""A reply's tokens as one column: log-probabilities, lengths and ids, zlib over planes of bytes.

A log-probability is rounded to 4 bits of fraction, below 1/4 to 1/64: right to 3 % or 0.008, a probability to 1 %.
A piece of text that comes again in a reply has the same id, which is written once. 2.6 bytes a token of a reply of 200.
"""

import math
import struct
import zlib
from collections.abc import Sequence

LOWEST = -124.0
"""Less probable tokens are stored with this log-probability."""


def pack(text: str, ids: Sequence[int], logprobs: Sequence[float], lengths: Sequence[int]) -> bytes:
    """The tokens of `text` as bytes: their ids, log-probabilities, and characters of each. Empty for no tokens."""
    if not (ids or logprobs or lengths):
        return b""
    first = _first_places(text, lengths)
    once = len(first) == len(ids) and [ids[place] for place in first] == list(ids)
    if once:
        ids = [id_ for place, id_ in enumerate(ids) if first[place] == place]
    return bytes([once]) + b"".join(map(_packed, ([_code(one) for one in logprobs], lengths, ids)))


def unpack(text: str, packed: bytes) -> tuple[list[int], list[float], list[int]]:
    """(ids, log-probabilities rounded, lengths) as given to `pack`; no ids where `text` has other pieces than then."""
    if not packed:
        return [], [], []
    codes, rest = _unpacked(packed[1:])
    lengths, rest = _unpacked(rest)
    ids, _ = _unpacked(rest)
    if packed[0]:
        first = _first_places(text, lengths)
        places = sorted(set(first))
        known = dict(zip(places, ids, strict=False))
        ids = [known[place] for place in first] if len(places) == len(ids) else []
    return ids, [_LOGPROBS[code] for code in codes], lengths


def unpack_logprobs(packed: bytes) -> list[float]:
    """The log-probabilities alone."""
    return [_LOGPROBS[code] for code in _unpacked(packed[1:])[0]] if packed else []


def _first_places(text: str, lengths: Sequence[int]) -> list[int]:
    """For each token where its piece of the text comes first; a token without text is a piece of its own."""
    first: dict[str | int, int] = {}
    places, at = [], 0
    for place, length in enumerate(lengths):
        places.append(first.setdefault(text[at : at + length] or place, place))
        at += length
    return places


def _packed(numbers: Sequence[int]) -> bytes:
    """How many planes there are, then each compressed: the lowest bytes, the second bytes and so on."""
    plain = struct.pack(f"<{len(numbers)}i", *numbers)
    planes = [plain[place::4] for place in range(4)] if numbers else []
    while len(planes) > 1 and not any(planes[-1]):
        planes.pop()
    return bytes([len(planes)]) + b"".join(map(_deflated, planes))


def _deflated(plane: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-12)
    return stream.compress(plane) + stream.flush()


def _unpacked(packed: bytes) -> tuple[list[int], bytes]:
    """The numbers, and the bytes behind them."""
    planes, rest = [], packed[1:]
    for _ in range(packed[0]):
        stream = zlib.decompressobj(wbits=-12)
        planes.append(stream.decompress(rest))
        rest = stream.unused_data
    count = len(planes[0]) if planes else 0
    plain = bytearray(4 * count)
    for place, plane in enumerate(planes):
        plain[place::4] = plane
    return list(struct.unpack(f"<{count}i", plain)), rest


def _code(logprob: float) -> int:
    number = min(max(0.0, -logprob), -LOWEST)
    if number < 0.25:
        return round(number * 64)
    fraction, exponent = math.frexp(number)
    return round(fraction * 32) + 16 * exponent + 16


_LOGPROBS = [-code / 64 if code < 16 else -math.ldexp(16 + code % 16, code // 16 - 7) for code in range(160)]
"""What each code stands for."""
