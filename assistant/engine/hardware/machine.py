"""What this machine has, without loading torch."""

import ctypes
import json
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SPEEDS = "product-speed.json"
"""In the cache folder: what was measured of this CPU's products."""

SPIN_COUNT = "10000"
"""Turns that a thread of torch's spins for the others before it sleeps (libgomp's GOMP_SPINCOUNT). By default it spins
for so long that a core which other programs use too does little else. On two cores with two other programs a reply has
1 token/s, with this 4; alone 27 and 23 (SmolLM2-135M in float32). A step of one of two trainings at once takes 13 s,
with this 0.95; of one alone 0.26 either way."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes; `gpu_bytes` is that of the largest GPU, 0 without one."""

    ram_bytes: int
    free_ram_bytes: int
    cores: int
    gpu_name: str = ""
    gpu_bytes: int = 0


def look() -> Machine:
    """This machine now."""
    import psutil

    memory = psutil.virtual_memory()
    name, gpu_bytes = _gpu()
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return Machine(memory.total, memory.available, cores, name, gpu_bytes)


@cache
def cpu_flags() -> frozenset[str]:
    """What the CPU can do, in the kernel's words, such as `avx512_vnni`; empty where there is no /proc."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").partition(":")[2].split())


def cpu_name() -> str:
    """What /proc calls the CPU; empty where there is no /proc."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return ""


def remembered_flops_per_s(speeds: Path) -> float:
    """How fast this CPU multiplies matrices, as `product_speed` has measured it and remembers in the file `speeds`; 0
    where it hasn't.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        known = json.loads(speeds.read_text(encoding="utf-8"))
        return max(float(entry["flops_per_s"]) for name, entry in known.items() if cpu_name() in name)
    return 0.0


def share_cores() -> None:
    """Let threads of torch that wait leave their cores to other programs. To be called before torch is imported."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def release_memory() -> None:
    """Give the system what was freed, where the C library keeps it (glibc): a model is much larger while it is read."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _gpu() -> tuple[str, int]:
    """Name and memory of the largest NVIDIA GPU, as its own tool tells them; ("", 0) without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "", 0
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
        rows = [line.rsplit(",", 1) for line in done.stdout.splitlines() if "," in line]
        return max(((name.strip(), int(mebibytes) * 2**20) for name, mebibytes in rows), key=lambda row: row[1])
    except (OSError, ValueError, subprocess.SubprocessError):
        return "", 0
