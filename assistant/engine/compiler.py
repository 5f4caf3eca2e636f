"""C sources of this program, built once for this machine by its C compiler and kept in the cache folder."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from assistant.engine.machine import cpu_flags
from assistant.paths import cache_folder

FLAGS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-shared",
    "-fPIC",
)
TIMEOUT_S = 60


def library(source: Path, more: Sequence[str] = (), links: Sequence[str] = ()) -> ctypes.CDLL | None:
    """The source built with FLAGS and `more`, linked with `links`; None where no compiler can build it."""
    key = hashlib.sha256(source.read_bytes() + " ".join((*FLAGS, *more, *links, *sorted(cpu_flags()))).encode())
    file = cache_folder() / f"{source.stem}-{key.hexdigest()[:16]}.so"
    try:
        if not file.exists():
            _build(source, file, [*FLAGS, *more], links)
        return ctypes.CDLL(str(file))
    except (OSError, subprocess.SubprocessError):
        return None


def _build(source: Path, file: Path, flags: Sequence[str], links: Sequence[str]) -> None:
    """Make the library appear, whole. Raises `OSError` or `SubprocessError` where it doesn't."""
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        built = Path(folder) / file.name
        command = [compiler, *flags, str(source), "-o", str(built), *links]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
        built.rename(file)
