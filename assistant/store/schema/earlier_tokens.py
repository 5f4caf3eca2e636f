"""The tokens of a reply as logs before the first release have them, written in eight ways that followed each other.

Log-probabilities: plain 32-bit floats; 3, half floats by zlib; 5, floats of 8 bits; 8, Rice's code. Ids and lengths:
plain 32-bit numbers; 1 and 2, numbers by zlib; 4, each by its length; 6, lengths by the words of the text; 7, of the
ids those that the table `token_ids` doesn't know by their piece of the text. The digit is the first byte of what is
written so. Plain numbers have a length that four divides, which no other has.
"""

import math
import re
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Literal

Known = Callable[[Sequence[int]], dict[int, int]]
"""Pieces of a text as hashes -> the ids of those that the log knows."""


def read(
    known: Known, model_hash: str, text: str, token_ids: bytes, logprobs: bytes, token_lengths: bytes
) -> tuple[list[int], list[float], list[int]]:
    """(ids, log-probabilities, lengths) of a reply's tokens. No ids and lengths where those were of another text."""
    if not _is(7, token_ids) or not _is(6, token_lengths):
        return _numbers("i", token_ids), _numbers("f", logprobs), _numbers("i", token_lengths)
    lengths = _from_words(text, token_lengths)
    _, crc = struct.unpack_from("<BH", token_ids)
    keys = _keys(model_hash, text, lengths)
    known_ids = known(keys)
    ids = [known_ids.get(key, -1) for key in keys]
    others = _numbers("i", token_ids[3:])
    for place, id_ in zip(others[::2], others[1::2], strict=True):
        if place < len(ids):
            ids[place] = id_
    whole = zlib.crc32(struct.pack(f"<{len(ids)}i", *ids)) & 0xFFFF == crc
    return (ids if whole else []), _numbers("f", logprobs), (lengths if whole else [])


def _is(tag: int, packed: bytes) -> bool:
    return len(packed) % 4 != 0 and packed[0] == tag


def _numbers(kind: Literal["i", "f"], packed: bytes) -> list[Any]:
    if len(packed) % 4 and packed[0] in _READERS:
        return _READERS[packed[0]](packed)
    if packed[1:2] == b"\x78" and packed[0] in _ZIPPED:  # how a stream of zlib's begins
        try:
            return _from_zlib(packed)
        except zlib.error:
            pass
    numbers = array(kind, packed[: len(packed) // 4 * 4])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


_ZIPPED = {1: "H", 2: "i", 3: "e"}


def _from_zlib(packed: bytes) -> list[Any]:
    """All lowest bytes, then the next."""
    planes = zlib.decompress(packed[1:])
    code = _ZIPPED[packed[0]]
    width = struct.calcsize(f"<{code}")
    count = len(planes) // width
    plain = bytearray(len(planes))
    for place in range(width):
        plain[place::width] = planes[place * count : (place + 1) * count]
    return list(struct.unpack(f"<{count}{code}", plain))


def _from_lengths(packed: bytes) -> list[int]:
    """Four bits of length for each id, then the bits below the highest of each in a row."""
    (count,) = struct.unpack_from("<I", packed, 1)
    start = 5 + (count + 1) // 2
    bits = _bits(packed[start:])
    ids, at = [], 0
    for digit in packed[5:start].hex()[:count]:
        length = int(digit, 16)
        end = at + (length + 3 if length else 4)
        ids.append(int(("1" if length else "") + bits[at:end], 2))
        at = end
    return ids


def _from_8_bits(packed: bytes) -> list[float]:
    codes = [0.0, *(-math.ldexp(16 + code % 16, code // 16 - 14) for code in range(1, 255))]
    return [codes[code] for code in packed[1:] if code != 255]


def _from_rice(packed: bytes) -> list[float]:
    """The lowest four bits of each code, then what is above those as so many ones and a zero."""
    (count,) = struct.unpack_from("<I", packed, 1)
    start = 5 + (count + 1) // 2
    above = _bits(packed[start:]).split("0", count)[:count]
    below = packed[5:start].hex()[:count]
    codes = [(len(ones) << 4) + int(digit, 16) for ones, digit in zip(above, below, strict=True)]
    return [-code / 64 if code < 16 else -math.ldexp(16 + code % 16, code // 16 - 7) for code in codes]


def _bits(packed: bytes) -> str:
    return f"{int.from_bytes(bytes([1]) + packed):b}"[1:]  # the 1 before keeps the zeros that follow


_READERS: dict[int, Callable[[bytes], list[Any]]] = {4: _from_lengths, 5: _from_8_bits, 8: _from_rice}

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_CJK}]|[ ]?[^\W\d_{_CJK}]+|\d|[ ]?[^\w\s]+|\n+|\s+?(?=\s\S|$)|\s+|.", re.DOTALL)


def _from_words(text: str, packed: bytes) -> list[int]:
    """A 0 for each token that ends where a word does; else a 1 and its length in 4 bits, of 15 and more in 20 more."""
    _, count = struct.unpack_from("<BH", packed)
    bits = _bits(packed[3:])
    lengths: list[int] = []
    at = place = 0
    for _ in range(count):
        if bits[place : place + 1] == "0":
            match = _WORD.match(text, at)
            length, place = match.end() - at if match else 0, place + 1
        else:
            length, place = int(bits[place + 1 : place + 5] or "0", 2), place + 5
            if length == 15:
                length, place = int(bits[place : place + 20] or "0", 2), place + 20
        lengths.append(length)
        at += length
    return lengths


def _keys(model_hash: str, text: str, lengths: Sequence[int]) -> list[int]:
    """A hash for each token's piece of the text; for a part of a character, which has no text, with its place in it."""
    keys: list[int] = []
    at = parts = 0
    for length in lengths:
        parts += 1
        if length:
            piece = text[at : at + length]
            keys += [_hash(model_hash, piece, place, parts) for place in range(parts)]
            at, parts = at + length, 0
    return keys + [_hash(model_hash, "", place, parts) for place in range(parts)]


def _hash(model_hash: str, piece: str, place: int, parts: int) -> int:
    hashed = f"{model_hash}\0{place}\0{parts}\0{piece}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(hashed, digest_size=6).digest(), "big")
