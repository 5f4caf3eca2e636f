"""The tensors of a safetensors file: their names and shapes, and whether they are finite. Loads no torch.

The format (https://huggingface.co/docs/safetensors): 8 bytes with the length of the header, a header of JSON, the data.
"""

import json
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LONGEST_HEADER_BYTES = 100_000_000
"""The format's own limit."""
_EXPONENTS = {"F64": (8, 0x7FF0000000000000), "F32": (4, 0x7F800000), "F16": (2, 0x7C00), "BF16": (2, 0x7F80)}
"""dtype -> (bytes of a number, the bits of its exponent). All of them set: infinite or no number."""
DTYPES = tuple(_EXPONENTS)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor's place in the file: bytes `begin` to `end`."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class StoredTensors:
    """A whole file. `about`: its `__metadata__`."""

    tensors: Mapping[str, StoredTensor]
    about: Mapping[str, str]

    @classmethod
    def read(cls, file: Path) -> "StoredTensors":
        """The header. Raises `OSError`, and `ValueError` where the file is damaged, cut or of other types of number."""
        size = file.stat().st_size
        with file.open("rb") as opened:
            try:
                (length,) = struct.unpack("<Q", opened.read(8))
            except struct.error:
                raise ValueError(f"it has only {size} bytes") from None
            if length > min(LONGEST_HEADER_BYTES, size - 8):
                raise ValueError(f"its header should have {length:,} bytes, the file has {size:,}")
            table = json.loads(opened.read(length))
        if not isinstance(table, dict):
            raise ValueError("its header is no table")
        about = table.pop("__metadata__", None) or {}
        tensors = {name: _tensor(name, entry, 8 + length) for name, entry in table.items()}
        if size != (end := max((one.end for one in tensors.values()), default=8 + length)):
            raise ValueError(f"it has {size:,} bytes and should have {end:,}")
        return cls(tensors, about)


def _tensor(name: str, entry: object, data: int) -> StoredTensor:
    try:
        assert isinstance(entry, dict)
        begin, end = entry["data_offsets"]
        found = StoredTensor(entry["dtype"], tuple(map(int, entry["shape"])), data + begin, data + end)
        whole = 0 <= begin <= end and min((*found.shape, 0)) >= 0
    except (AssertionError, KeyError, TypeError, ValueError):
        raise ValueError(f"its header says nothing usable of {name}") from None
    if found.dtype not in _EXPONENTS:
        raise ValueError(f"{name} holds numbers of the type {found.dtype}, not one of {', '.join(DTYPES)}")
    if not whole or end - begin != found.numel * _EXPONENTS[found.dtype][0]:
        raise ValueError(f"its header gives {name} {end - begin:,} bytes for the shape {found.shape}")
    return found


def not_finite(file: Path, tensors: Mapping[str, StoredTensor]) -> str:
    """The name of a tensor that holds infinite numbers or NaN; empty where there is none. The file is mapped."""
    import numpy as np

    if not any(one.numel for one in tensors.values()):
        return ""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for name, one in tensors.items():
            width, exponent = _EXPONENTS[one.dtype]
            numbers = np.frombuffer(mapped, f"<u{width}", one.numel, one.begin)
            wrong = bool(((numbers & exponent) == exponent).any())
            del numbers  # else the map can't be closed
            if wrong:
                return name
    return ""
