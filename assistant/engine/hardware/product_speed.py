"""Which precision this CPU multiplies large matrices fastest in, and how fast: measured, then remembered.

Flags alone are no answer: bfloat16 is many times faster than float32 with AMX, about twice with AVX512-BF16, and three
times slower where it is emulated. A measurement alone is none either: other programs run. So both precisions are
measured in turn, the best of several counts, and what contradicts the flags is measured again and not remembered.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from assistant.engine.hardware.machine import cpu_flags, cpu_name

CANDIDATES = (torch.float32, torch.bfloat16)
ROWS, WIDTH = 512, 1024
"""A piece of a prompt times a matrix of a small model: 1 GFLOP, 10 ms in float32 on two cores."""
ROUNDS = 7
TRIES = 3
BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""Flags of CPUs that multiply in bfloat16: Intel's, AMD's and ARM's."""


@dataclass(frozen=True, slots=True)
class ProductSpeed:
    """The faster precision, and floating-point operations a second in it."""

    dtype: torch.dtype
    flops_per_s: float


def fastest(memory: Path) -> ProductSpeed:
    """`memory` is the file that remembers it; one that can't be read or written does no harm."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memory.read_text(encoding="utf-8"))[_machine()]
        return ProductSpeed(_by_name(known["dtype"]), float(known["flops_per_s"]))
    found = measured()
    for _ in range(TRIES - 1):
        if _is_expected(found):
            break
        found = measured()
    if _is_expected(found):
        _remember(memory, {"dtype": str(found.dtype), "flops_per_s": found.flops_per_s})
    return found


def fastest_dtype(memory: Path) -> torch.dtype:
    """float32 or bfloat16."""
    return fastest(memory).dtype


def forget(memory: Path) -> None:
    """Measure again the next time, because what was computed was much slower than what is remembered promised."""
    _remember(memory, None)


def measured() -> ProductSpeed:
    """As this moment is."""
    operands = {
        dtype: (torch.ones(ROWS, WIDTH, dtype=dtype), torch.ones(WIDTH, WIDTH, dtype=dtype)) for dtype in CANDIDATES
    }
    took = dict.fromkeys(CANDIDATES, float("inf"))
    for number in range(ROUNDS + 1):
        for dtype, (x, weight) in operands.items():
            began_s = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            if number:  # the first one prepares its kernel
                took[dtype] = min(took[dtype], time.perf_counter() - began_s)
    best = min(CANDIDATES, key=took.__getitem__)
    return ProductSpeed(best, 2 * ROWS * WIDTH * WIDTH / took[best])


def _is_expected(found: ProductSpeed) -> bool:
    """Whether the CPU's flags say the same; where there are none, anything is."""
    flags = cpu_flags()
    return not flags or (found.dtype == torch.bfloat16) == bool(flags & BFLOAT16)


def _remember(memory: Path, entry: Mapping[str, Any] | None) -> None:
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        known = dict(json.loads(memory.read_text(encoding="utf-8")))
    known.pop(_machine(), None)
    if entry is not None:
        known[_machine()] = dict(entry)
    with suppress(OSError):
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory.write_text(json.dumps(known), encoding="utf-8")


def _machine() -> str:
    return f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()} {cpu_name()} {torch.get_num_threads()}"


def _by_name(name: str) -> torch.dtype:
    return {str(one): one for one in CANDIDATES}[name]
