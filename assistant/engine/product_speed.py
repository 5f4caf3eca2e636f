"""Which precision this CPU multiplies large matrices fastest in: measured once, then remembered.

What a CPU says it can do is no answer: bfloat16 is many times faster than float32 with AMX, about twice with
AVX512-BF16, and three times slower where it is emulated.
"""

import json
import statistics
import time
from contextlib import suppress
from pathlib import Path

import torch

CANDIDATES = (torch.float32, torch.bfloat16)
ROWS, WIDTH = 512, 1024
"""A piece of a prompt times a matrix of a small model: 1 GFLOP, 10 ms in float32 on two cores."""
ROUNDS = 5


def fastest_dtype(memory: Path) -> torch.dtype:
    """float32 or bfloat16. `memory` is the file that remembers it; one that can't be read or written does no harm."""
    machine = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()} {_cpu()} {torch.get_num_threads()}"
    known: dict[str, str] = {}
    with suppress(OSError, ValueError):
        known = json.loads(memory.read_text(encoding="utf-8"))
    if known.get(machine) not in (names := {str(one): one for one in CANDIDATES}):
        known[machine] = str(_measured())
        with suppress(OSError):
            memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            memory.write_text(json.dumps(known), encoding="utf-8")
    return names[known[machine]]


def _cpu() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return ""


def _measured() -> torch.dtype:
    return min(CANDIDATES, key=_product_s)


def _product_s(dtype: torch.dtype) -> float:
    """Median seconds of one product. The first one, which prepares its kernel, doesn't count."""
    a, b = torch.ones(ROWS, WIDTH, dtype=dtype), torch.ones(WIDTH, WIDTH, dtype=dtype)
    took = []
    for _ in range(ROUNDS + 1):
        began_s = time.perf_counter()
        torch.nn.functional.linear(a, b)
        took.append(time.perf_counter() - began_s)
    return statistics.median(took[1:])
