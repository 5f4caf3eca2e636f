"""The header of a GGUF file: metadata and where its tensors lie, every count checked against the file's size first.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A header of 262,144 tokens takes 0.2 s.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import ModelIncomplete, ModelUnsupported

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of metadata -> struct's letters."""
LEAST_ENTRY_BYTES = 12
"""Of an entry of the metadata or the list of tensors: two lengths or types at the least."""
MOST_DIMENSIONS = 4
NESTED = 4
"""Arrays of arrays, at the most."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a GGUF file: `rows` are its blocks (rows, bytes) uint8, `shape` counts weights, rows first."""

    name: str
    kind: str
    shape: list[int]
    rows: "np.ndarray[Any, np.dtype[np.uint8]]"


def read(file: Path) -> tuple[dict[str, Any], list[Tensor]]:
    """Metadata and tensors (mapped, not loaded). Raises `ModelUnsupported` or `ModelIncomplete`."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if (magic := opened.read(4)) != MAGIC:
            raise ModelUnsupported(f"{file} is not a GGUF file: it begins with {magic!r}.")
        data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return _Reader(data).header()
    except (_Damaged, struct.error) as error:
        reason = str(error) if isinstance(error, _Damaged) else "it ends within its header"
        raise ModelIncomplete(f"{file} is damaged or cut short ({size:,} bytes): {reason}. Get it again.") from error


class _Damaged(Exception):
    """What is wrong, in a few words."""


class _Reader:
    """Reads a mapped file from its beginning on."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, len(MAGIC)

    def header(self) -> tuple[dict[str, Any], list[Tensor]]:
        (version,) = self._numbers("I")
        if version not in VERSIONS:
            raise ModelUnsupported(f"The GGUF file is of version {version}; we read {VERSIONS[0]} and {VERSIONS[1]}.")
        tensors, entries = self._numbers("QQ")
        self._check(tensors + entries, LEAST_ENTRY_BYTES, "entries")
        metadata = dict(self._entry() for _ in range(entries))
        placed = [self._tensor() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise _Damaged(f"general.alignment is {alignment!r:.40}")
        begin = -(-self._at // alignment) * alignment
        names = [name for name, *_ in placed]
        if len(set(names)) < len(names):
            raise _Damaged("it holds tensors of the same name")
        return metadata, [self._mapped(begin, *one) for one in placed]

    def _entry(self) -> tuple[str, Any]:
        key = self._text("strict")
        (kind,) = self._numbers("I")
        return key, self._value(kind, key)

    def _value(self, kind: int, key: str, depth: int = 0) -> Any:
        if kind == STRING:
            return self._text("replace")
        if kind in NUMBERS:
            return self._numbers(NUMBERS[kind])[0]
        if kind != ARRAY or depth == NESTED:
            raise _Damaged(f"{key!r:.60} is of the type {kind}")
        of, length = self._numbers("IQ")
        if of in NUMBERS:
            self._check(length, struct.calcsize(NUMBERS[of]), "numbers")
            return list(self._numbers(f"{length}{NUMBERS[of]}"))
        self._check(length, 8, "values")
        return [self._value(of, key, depth + 1) for _ in range(length)]

    def _tensor(self) -> tuple[str, list[int], int, int]:
        """(name, shape, number of the kind, offset)"""
        name = self._text("strict")
        (dimensions,) = self._numbers("I")
        if dimensions > MOST_DIMENSIONS:
            raise _Damaged(f"the tensor {name!r:.60} has {dimensions} dimensions")
        shape = list(self._numbers(f"{dimensions}Q"))
        kind, offset = self._numbers("IQ")
        return name, shape[::-1], kind, offset

    def _mapped(self, begin: int, name: str, shape: list[int], number: int, offset: int) -> Tensor:
        kind, weights, size = _kind(name, number)
        count = math.prod(shape)
        if not shape or not count or shape[-1] % weights:
            raise _Damaged(f"the tensor {name!r:.60} of the type {kind} has the shape {shape}")
        row, end = shape[-1] // weights * size, begin + offset + count // weights * size
        if end > len(self._data):
            raise _Damaged(f"the tensor {name!r:.60} ends at byte {end:,}")
        data = np.frombuffer(self._data, np.uint8, count // weights * size, begin + offset)
        return Tensor(name, kind, shape, data.reshape(shape[0], -1) if len(shape) > 1 else data.reshape(1, row))

    def _numbers(self, letters: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{letters}", self._data, self._at)
        self._at += struct.calcsize(f"<{letters}")
        return found

    def _text(self, errors: str) -> str:
        (length,) = self._numbers("Q")
        self._check(length, 1, "bytes of text")
        begin = self._at
        self._at += length
        try:
            return self._data[begin : self._at].decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise _Damaged("a name in it is no text") from error

    def _check(self, count: int, size: int, what: str) -> None:
        """Refuse more than the rest of the file can hold."""
        if count * size > len(self._data) - self._at:
            raise _Damaged(f"it says that {count:,} {what} follow at byte {self._at:,}")


def _kind(name: str, number: int) -> tuple[str, int, int]:
    """(name, weights of a block, its bytes) of a ggml type."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        kind = GGMLQuantizationType(number)
        weights, size = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError) as error:
        raise ModelUnsupported(
            f"The GGUF file's tensor {name!r:.60} is of ggml's type {number}, unknown to us."
        ) from error
    return kind.name, weights, size


def whole(metadata: Mapping[str, Any], key: str, least: int = 1, most: int = 1 << 31) -> int:
    """The whole number `key`. Raises `KeyError` where it is missing, `ModelIncomplete` for a number out of bounds."""
    value = metadata[key]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ModelIncomplete(
            f"The GGUF file is damaged: {key} is {value!r:.40}, not a whole number from {least:,} to {most:,}. "
            "Get it again."
        )
    return value


def fraction(metadata: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """The positive number `key`. Raises as `whole` does."""
    value = metadata[key] if default is None else metadata.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ModelIncomplete(f"The GGUF file is damaged: {key} is {value!r:.40}, not a number above 0. Get it again.")
    return float(value)
