"""The tokens of a reply beside its text: 0.2 bytes a token for their lengths, and next to nothing for their ids.

Most tokens end where a word does, so a length is one bit, or five where it doesn't (of real replies one in twelve).
Which id a piece of text has follows from the model's vocabulary. As that isn't known here, it is learned: `token_ids`
has each piece that a reply was ever made of, once for all replies, so that a reply keeps the ids that differ alone.
The pieces stand there as hashes: what was deleted can't be read in it.

A sum over the ids tells where a text or that table is not what it was; then there are none. What earlier versions wrote
(`packing`) is read as it is, and whatever doesn't fit in here is kept as they did.
"""

import json
import re
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from sqlite_utils import Database

from assistant.store.database import execute_many, select
from assistant.store.packing import from_bits, pack, to_bits, unpack
from assistant.store.words import CJK

_BY_WORDS, _LEARNED = 6, 7
"""The first byte of lengths by the words of the text, and of ids that `token_ids` knows."""

_WORD = re.compile(rf"[{CJK}]|[ ]?[^\W\d_{CJK}]+|\d|[ ]?[^\w\s]+|\n+|\s+?(?=\s\S|$)|\s+|.", re.DOTALL)
"""What most vocabularies take for a word. A change of it needs another first byte."""

_SHORT_BITS, _LONG_BITS = 4, 20
_LONG = 15
"""Four bits for a length that no word tells; those of 15 and more follow them in twenty."""
_MOST_TOKENS = 0xFFFF


def pack_tokens(
    db: Database, model_hash: str, text: str, ids: Sequence[int], lengths: Sequence[int]
) -> tuple[bytes, bytes]:
    """The ids and lengths of a reply's tokens as bytes. What the vocabulary is seen to have is written into `db`."""
    if not _fits(text, ids, lengths):
        return pack("i", ids), pack("i", lengths)
    keys = _keys(model_hash, text, lengths)
    known = _known(db, keys)
    new: dict[int, int] = {}
    for key, one in zip(keys, ids, strict=True):
        if key not in known:
            known[key] = new[key] = one
    if new:
        execute_many(db, "INSERT OR IGNORE INTO token_ids (piece, id) VALUES (?, ?)", new.items())
    others = [(place, one) for place, (key, one) in enumerate(zip(keys, ids, strict=True)) if known[key] != one]
    learned = struct.pack("<BH", _LEARNED, _sum(ids)) + pack("i", [number for pair in others for number in pair])
    if len(others) > len(ids) // 2:  # another vocabulary under the same name
        return pack("i", ids), pack("i", lengths)
    return _odd(learned), _by_words(text, lengths)


def unpack_tokens(
    db: Database, model_hash: str, text: str, token_ids: bytes, token_lengths: bytes
) -> tuple[list[int], list[int]]:
    """The ids and lengths that `pack_tokens` was given; none where `text` is another one than it was."""
    if not _is(_LEARNED, token_ids) or not _is(_BY_WORDS, token_lengths):
        return unpack("i", token_ids), unpack("i", token_lengths)
    lengths = _from_words(text, token_lengths)
    _, told = struct.unpack_from("<BH", token_ids)
    keys = _keys(model_hash, text, lengths)
    known = _known(db, keys)
    ids = [known.get(key, -1) for key in keys]
    others = unpack("i", token_ids[3:])
    for place, one in zip(others[::2], others[1::2], strict=True):
        if place < len(ids):
            ids[place] = one
    return (ids, lengths) if _sum(ids) == told else ([], [])


def _is(tag: int, packed: bytes) -> bool:
    return len(packed) % 4 != 0 and packed[0] == tag


def _odd(packed: bytes) -> bytes:
    """A zero behind it where four divides its length, as plain numbers are of such a length."""
    return packed if len(packed) % 4 else packed + b"\0"


def _fits(text: str, ids: Sequence[int], lengths: Sequence[int]) -> bool:
    whole = 0 < len(ids) == len(lengths) <= _MOST_TOKENS and sum(lengths) == len(text)
    return whole and min(ids) >= 0 and max(ids) < 2**31 and min(lengths) >= 0 and max(lengths) < 1 << _LONG_BITS


def _sum(ids: Sequence[int]) -> int:
    return zlib.crc32(struct.pack(f"<{len(ids)}i", *ids)) & 0xFFFF


def _known(db: Database, keys: Sequence[int]) -> dict[int, int]:
    rows = select(
        db, "SELECT piece, id FROM token_ids WHERE piece IN (SELECT value FROM json_each(?))", (json.dumps(keys),)
    )
    return dict(rows)


def _keys(model_hash: str, text: str, lengths: Sequence[int]) -> list[int]:
    """A hash for each token's piece of the text; one that is a part of a character is told by its place in it."""
    keys: list[int] = []
    at = parts = 0
    for length in lengths:
        parts += 1
        if length:
            piece = text[at : at + length]
            keys += [_hash(model_hash, piece, place, parts) for place in range(parts)]
            at, parts = at + length, 0
    return keys + [_hash(model_hash, "", place, parts) for place in range(parts)]


@lru_cache(maxsize=20_000)
def _hash(model_hash: str, piece: str, place: int, parts: int) -> int:
    told = f"{model_hash}\0{place}\0{parts}\0{piece}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(told, digest_size=6).digest(), "big")


def _by_words(text: str, lengths: Sequence[int]) -> bytes:
    bits, at = [], 0
    for length in lengths:
        if length == _word(text, at):
            bits.append("0")
        elif length < _LONG:
            bits.append(f"1{length:04b}")
        else:
            bits.append(f"1{_LONG:04b}{length:020b}")
        at += length
    return _odd(struct.pack("<BH", _BY_WORDS, len(lengths)) + from_bits("".join(bits)))


def _from_words(text: str, packed: bytes) -> list[int]:
    _, count = struct.unpack_from("<BH", packed)
    bits = to_bits(packed[3:])
    lengths: list[int] = []
    at = place = 0
    for _ in range(count):
        if bits[place : place + 1] == "0":
            length, place = _word(text, at), place + 1
        else:
            length, place = int(bits[place + 1 : place + 1 + _SHORT_BITS] or "0", 2), place + 1 + _SHORT_BITS
            if length == _LONG:
                length, place = int(bits[place : place + _LONG_BITS] or "0", 2), place + _LONG_BITS
        lengths.append(length)
        at += length
    return lengths


def _word(text: str, at: int) -> int:
    """Characters of the word, or of what is left of it, at that place; 0 at the end."""
    match = _WORD.match(text, at)
    return match.end() - at if match else 0
