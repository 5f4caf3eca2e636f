"""The tokens of a reply and their log-probabilities as bytes: 2.5 for a token instead of 8.

An id takes four bits that say how long it is and the bits of that length, as frequent tokens have small ids: 11 or 12
bits in the mean. A log-probability is a float of 8 bits, four of them its exponent: it is right to 3%, the probability
to a percentage point, and the errors of many cancel out in their mean. What doesn't fit is kept as plain numbers or
half floats. A reply has too few tokens for a general compressor to learn much from them.

What earlier versions wrote is read as it is: the first ones plain little-endian 32-bit numbers, later ones streams of
zlib. Plain numbers have a length that four divides, which ours never has.
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

_ZLIB_TAGS = {1: "H", 2: "i", 3: "e"}
"""The first byte of a stream of zlib, and what `struct` calls the numbers in it: first all low bytes, then the next."""
_BY_LENGTH, _CODED = 4, 5
"""The first byte of ids by their length, and of log-probabilities by their code."""

_SHORTEST_BITS = 4
_LONGEST_BITS = _SHORTEST_BITS + 15

_PADDING = 255
_CODES = [0.0, *(-math.ldexp(16 + code % 16, code // 16 - 14) for code in range(1, _PADDING))]
"""What each code of a log-probability stands for: 0, and from -0.001 to -60."""

_HALF_LIMIT = 65504.0


def pack(kind: Kind, numbers: Sequence[float]) -> bytes:
    """The numbers as bytes; none for none."""
    if not numbers:
        return b""
    if kind == "f":
        return _coded(numbers) if all(_CODES[-1] <= number <= 0 for number in numbers) else _half_floats(numbers)
    ids = [int(number) for number in numbers]
    return _by_length(ids) if min(ids) >= 0 and max(ids) < 1 << _LONGEST_BITS else _zipped(2, ids)


def unpack(kind: Kind, packed: bytes) -> list[Any]:
    """The numbers that `pack` was given, log-probabilities rounded."""
    if len(packed) % 4 and packed[0] in (_BY_LENGTH, _CODED):
        return _decoded(packed) if packed[0] == _CODED else _ids(packed)
    if packed[1:2] == b"\x78" and packed[0] in _ZLIB_TAGS:  # how a stream of zlib's begins
        try:
            return _unzipped(packed)
        except zlib.error:
            pass
    numbers = array(kind, packed[: len(packed) // 4 * 4])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _coded(numbers: Sequence[float]) -> bytes:
    codes = [_code(-number) for number in numbers]
    return bytes([_CODED, *codes, *([] if (len(codes) + 1) % 4 else [_PADDING])])


def _code(number: float) -> int:
    fraction, exponent = math.frexp(number)
    return 0 if number < 2**-11 else max(1, round(fraction * 32) + exponent * 16 + 128)


def _decoded(packed: bytes) -> list[float]:
    return [_CODES[code] for code in packed[1:] if code != _PADDING]


def _by_length(ids: list[int]) -> bytes:
    """Their number, four bits of length for each, two to a byte, then the bits below the highest of each in a row."""
    lengths = [max(one.bit_length() - _SHORTEST_BITS, 0) for one in ids]
    bits = "".join([f"{one:04b}" if not length else f"{one:b}"[1:] for one, length in zip(ids, lengths, strict=True)])
    nibbles = bytes.fromhex("".join([f"{length:x}" for length in lengths]) + "0" * (len(ids) % 2))
    size = (len(bits) + 7) // 8
    rest = int(bits.ljust(size * 8, "0"), 2).to_bytes(size, "big")
    packed = struct.pack("<BI", _BY_LENGTH, len(ids)) + nibbles + rest
    return packed if len(packed) % 4 else packed + b"\0"


def _ids(packed: bytes) -> list[int]:
    (count,) = struct.unpack_from("<I", packed, 1)
    start = 5 + (count + 1) // 2
    bits = f"{int.from_bytes(bytes([1]) + packed[start:]):b}"[1:]  # the 1 before keeps the zeros that follow
    ids, at = [], 0
    for digit in packed[5:start].hex()[:count]:
        length = int(digit, 16)
        end = at + (length + _SHORTEST_BITS - 1 if length else _SHORTEST_BITS)
        ids.append(int(("1" if length else "") + bits[at:end], 2))
        at = end
    return ids


def _half_floats(numbers: Sequence[float]) -> bytes:
    return _zipped(3, [max(-_HALF_LIMIT, min(one, _HALF_LIMIT)) if math.isfinite(one) else one for one in numbers])


def _zipped(tag: int, numbers: Sequence[float]) -> bytes:
    plain = struct.pack(f"<{len(numbers)}{_ZLIB_TAGS[tag]}", *numbers)
    width = len(plain) // len(numbers)
    return bytes([tag]) + zlib.compress(b"".join(plain[place::width] for place in range(width)))


def _unzipped(packed: bytes) -> list[Any]:
    planes = zlib.decompress(packed[1:])
    code = _ZLIB_TAGS[packed[0]]
    width = struct.calcsize(f"<{code}")
    count = len(planes) // width
    plain = bytearray(len(planes))
    for place in range(width):
        plain[place::width] = planes[place * count : (place + 1) * count]
    return list(struct.unpack(f"<{count}{code}", plain))
