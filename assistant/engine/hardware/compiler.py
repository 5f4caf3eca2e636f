"""C sources of this program, built once for this machine by its C compiler and kept in the cache folder."""

import ctypes
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from assistant.engine.hardware.machine import cpu_flags
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
ADVICE = "Install a C compiler (Debian, Ubuntu: apt install gcc; macOS: xcode-select --install)."
log = logging.getLogger(__name__)


def library(source: Path, more: Sequence[str] = (), links: Sequence[str] = ()) -> ctypes.CDLL | None:
    """The source built with FLAGS and `more`, linked with `links`; None where no compiler can build it."""
    command = compiler()
    parts = (*FLAGS, *more, *links, *sorted(cpu_flags()), *_identity(command))
    key = hashlib.sha256(source.read_bytes() + " ".join(parts).encode())
    file = cache_folder() / f"{source.stem}-{key.hexdigest()[:16]}.so"
    try:
        if not file.exists():
            _build(source, file, command, [*FLAGS, *more], links)
        return ctypes.CDLL(str(file))
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip() or str(error)
        log.warning(
            "%s can't be built: %s. Replies and training are slower without it. %s", source.name, reason, ADVICE
        )
        return None


def compiler() -> list[str]:
    """The command of the C compiler: `CC` with its arguments, else the first of cc, gcc and clang on the path; empty
    where there is none.
    """
    if given := os.environ.get("CC"):
        try:
            return shlex.split(given)
        except ValueError:  # a quotation mark that isn't closed
            return [given]
    return [one for one in map(shutil.which, ("cc", "gcc", "clang")) if one][:1]


def _identity(command: Sequence[str]) -> list[str]:
    """The compiler's files, each with its size and time in ns: others after the compiler was replaced."""
    files = [Path(found).resolve() for one in command if (found := shutil.which(one))]
    return [f"{one} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in files]


def _build(source: Path, file: Path, command: Sequence[str], flags: Sequence[str], links: Sequence[str]) -> None:
    """Make the library appear, whole. Raises `OSError` or `SubprocessError` where it doesn't."""
    if not command:
        raise FileNotFoundError("there is no C compiler")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        built = Path(folder) / file.name
        whole = [*command, *flags, str(source), "-o", str(built), *links]
        subprocess.run(whole, check=True, capture_output=True, timeout=TIMEOUT_S)
        built.rename(file)
