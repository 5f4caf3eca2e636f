"""Numbers of a reply's tokens as bytes: log-probabilities in 6 or 7 bits, ids and lengths where `token_packing` can't.

A log-probability is a float with a fraction of four bits, of fixed point below 1/4: right to 3% or 0.008, the
probability to a percentage point, and the errors of many cancel out in their mean. It is written by Rice's code, four
bits and so many more as its exponent says: small numbers, of which there are many, are short. An id takes four bits
that say how long it is and the bits of that length, as frequent tokens have small ids: 11 or 12 bits in the mean. What
doesn't fit is kept as plain numbers or half floats. A reply has too few tokens for a general compressor to learn much.

What earlier versions wrote is read as it is: the first ones plain little-endian 32-bit numbers, later ones streams of
zlib or floats of 8 bits. Plain numbers have a length that four divides, which ours never has.
"""

import math
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Literal

Kind = Literal["i", "f"]
"""Ids, or log-probabilities."""

_ZLIB_TAGS = {1: "H", 2: "i", 3: "e"}
"""The first byte of a stream of zlib, and what `struct` calls the numbers in it: first all low bytes, then the next."""
_BY_LENGTH, _CODED, _RICE = 4, 5, 8
"""The first byte of ids by their length, and of log-probabilities: floats of 8 bits, and what is written now."""

_SHORTEST_BITS = 4
_LONGEST_BITS = _SHORTEST_BITS + 15

_PADDING = 255
_CODES = [0.0, *(-math.ldexp(16 + code % 16, code // 16 - 14) for code in range(1, _PADDING))]
"""What each code of 8 bits stands for: 0, and from -0.001 to -60."""

_LOWEST = -100.0
_RICE_BITS = 4

_HALF_LIMIT = 65504.0


def pack(kind: Kind, numbers: Sequence[float]) -> bytes:
    """The numbers as bytes; none for none."""
    if not numbers:
        return b""
    if kind == "f":
        return _rice(numbers) if all(_LOWEST <= number <= 0 for number in numbers) else _half_floats(numbers)
    ids = [int(number) for number in numbers]
    return _by_length(ids) if min(ids) >= 0 and max(ids) < 1 << _LONGEST_BITS else _zipped(2, ids)


def unpack(kind: Kind, packed: bytes) -> list[Any]:
    """The numbers that `pack` was given, log-probabilities rounded."""
    if len(packed) % 4 and packed[0] in _READERS:
        return _READERS[packed[0]](packed)
    if packed[1:2] == b"\x78" and packed[0] in _ZLIB_TAGS:  # how a stream of zlib's begins
        try:
            return _unzipped(packed)
        except zlib.error:
            pass
    numbers = array(kind, packed[: len(packed) // 4 * 4])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _rice(numbers: Sequence[float]) -> bytes:
    """Their number, the lowest four bits of the code of each, then what is above those as so many ones and a zero."""
    codes = [_short(-number) for number in numbers]
    above = "".join(["1" * (code >> _RICE_BITS) + "0" for code in codes])
    below = "".join([f"{code & (1 << _RICE_BITS) - 1:x}" for code in codes])
    packed = struct.pack("<BI", _RICE, len(codes)) + bytes.fromhex(below + "0" * (len(below) % 2)) + from_bits(above)
    return packed if len(packed) % 4 else packed + b"\0"


def _from_rice(packed: bytes) -> list[float]:
    (count,) = struct.unpack_from("<I", packed, 1)
    start = 5 + (count + 1) // 2
    above = to_bits(packed[start:]).split("0", count)[:count]
    below = packed[5:start].hex()[:count]
    return [_SHORT[(len(ones) << _RICE_BITS) + int(digit, 16)] for ones, digit in zip(above, below, strict=True)]


def _short(number: float) -> int:
    if number < 0.25:
        return round(number * 64)
    fraction, exponent = math.frexp(number)
    return round(fraction * 32) + 16 * exponent + 16


_SHORT = [-code / 64 if code < 16 else -math.ldexp(16 + code % 16, code // 16 - 7) for code in range(160)]
"""What each code stands for: from 0 to -124."""


def from_bits(bits: str) -> bytes:
    """Ones and zeros as bytes, filled up with zeros."""
    size = (len(bits) + 7) // 8
    return int(bits.ljust(size * 8, "0") or "0", 2).to_bytes(size, "big")


def to_bits(packed: bytes) -> str:
    """Bytes as ones and zeros."""
    return f"{int.from_bytes(bytes([1]) + packed):b}"[1:]  # the 1 before keeps the zeros that follow


def _decoded(packed: bytes) -> list[float]:
    return [_CODES[code] for code in packed[1:] if code != _PADDING]


def _by_length(ids: list[int]) -> bytes:
    """Their number, four bits of length for each, two to a byte, then the bits below the highest of each in a row."""
    lengths = [max(one.bit_length() - _SHORTEST_BITS, 0) for one in ids]
    bits = "".join([f"{one:04b}" if not length else f"{one:b}"[1:] for one, length in zip(ids, lengths, strict=True)])
    nibbles = bytes.fromhex("".join([f"{length:x}" for length in lengths]) + "0" * (len(ids) % 2))
    packed = struct.pack("<BI", _BY_LENGTH, len(ids)) + nibbles + from_bits(bits)
    return packed if len(packed) % 4 else packed + b"\0"


def _ids(packed: bytes) -> list[int]:
    (count,) = struct.unpack_from("<I", packed, 1)
    start = 5 + (count + 1) // 2
    bits = to_bits(packed[start:])
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


_READERS: dict[int, Callable[[bytes], list[Any]]] = {_BY_LENGTH: _ids, _CODED: _decoded, _RICE: _from_rice}
