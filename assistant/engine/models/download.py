"""One file over HTTP: resumed where it stopped, hashed, and kept only when it is what was promised."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.errors import ChecksumMismatch, DownloadFailed, PullStopped

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 18
TRIES = 4
"""Connections in a row that may fail without bringing a single byte."""
REPORT_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """How a pull goes. `left_s` is None while the speed is unknown."""

    stage: str
    done_bytes: int
    total_bytes: int
    bytes_per_s: float = 0.0
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class Download:
    """One file to fetch. Without `sha256` its size is all that can be checked."""

    url: str
    target: Path
    sha256: str | None
    size: int | None
    key: str | None = None


@dataclass(slots=True)
class Remaining:
    """Bytes of all files of a pull: how many are done, and how fast they came in this session."""

    total_bytes: int
    done_bytes: int = 0
    came_bytes: int = 0
    started_s: float = 0.0
    reported_s: float = 0.0

    def take(self, count: int, progress: Callable[[Progress], None], name: str) -> None:
        """Count bytes that came, and report at most ten times a second."""
        now = time.monotonic()
        self.started_s = self.started_s or now
        self.done_bytes += count
        self.came_bytes += count
        if now - self.reported_s < REPORT_EVERY_S:
            return
        self.reported_s = now
        elapsed = now - self.started_s
        speed = self.came_bytes / elapsed if elapsed > 0.5 else 0.0
        total = max(self.total_bytes, self.done_bytes)
        left = (total - self.done_bytes) / speed if speed else None
        progress(Progress(f"pulling {name}", self.done_bytes, total, speed, left))


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def download(
    file: Download, remaining: Remaining, progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> None:
    """Fetch `file.target` unless it is there; go on from `NAME.part` if that is. Raises as `fetch.pull` does."""
    import httpx

    if file.target.exists():
        remaining.done_bytes += file.target.stat().st_size
        return
    part = file.target.with_name(file.target.name + ".part")
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part.touch(mode=0o600)
    remaining.done_bytes += part.stat().st_size
    headers = {"Authorization": f"Bearer {file.key}"} if file.key else {}
    failures = 0
    with httpx.Client(follow_redirects=True, timeout=30.0, headers=headers) as http:
        while True:
            before = part.stat().st_size
            try:
                _stream(http, file, part, remaining, progress, cancelled)
                break
            except httpx.HTTPError as error:
                failures = 0 if part.stat().st_size > before else failures + 1
                if failures >= TRIES or not isinstance(error, httpx.TransportError):
                    raise unreachable(file.url, error) from error
                time.sleep(0.2 * 2**failures)
    _check(file, part)
    part.rename(file.target)


def _stream(
    http: "httpx.Client",
    file: Download,
    part: Path,
    remaining: Remaining,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> None:
    """Append what is missing to `part`; where the server can't go on from the middle, from the beginning."""
    import httpx

    have = part.stat().st_size
    if file.size is not None and have == file.size:
        return
    ask = {"Range": f"bytes={have}-"} if have else {}
    with http.stream("GET", file.url, headers={**ask, "Accept-Encoding": "identity"}) as response:
        if response.status_code == 416:  # nothing follows what we have
            if response.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            _forget(part, remaining)
            raise httpx.TransportError("the part kept belongs to another file")
        response.raise_for_status()
        if have and response.status_code != 206:
            _forget(part, remaining)
        with part.open("ab") as out:
            for chunk in response.iter_bytes(CHUNK_BYTES):
                if cancelled():
                    raise PullStopped("Stopped. What came so far is kept; pull again to go on.")
                out.write(chunk)
                remaining.take(len(chunk), progress, file.target.name)


def _forget(part: Path, remaining: Remaining) -> None:
    remaining.done_bytes -= part.stat().st_size
    part.write_bytes(b"")


def _check(file: Download, part: Path) -> None:
    size = part.stat().st_size
    if file.size is not None and size != file.size:
        if size > file.size:
            part.unlink()
        raise DownloadFailed(f"{file.target.name} ended after {size:,} of {file.size:,} bytes. Pull again to go on.")
    if file.sha256 is not None and (seen := sha256_of(part)) != file.sha256:
        part.unlink()
        raise ChecksumMismatch(
            f"{file.target.name} came with SHA-256 {seen}, but {file.sha256} was promised. It was thrown away. "
            "Pull again; if that says the same, the file was altered on its way."
        )


def unreachable(url: str, error: Exception) -> DownloadFailed:
    """What to tell when a server can't be reached or refuses."""
    import httpx

    host = httpx.URL(url).host
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        advice = {
            401: "It wants a token: set HF_TOKEN.",
            403: "It wants a token that may read this model: set HF_TOKEN.",
            404: "The file is not there any more.",
        }.get(status, "Try again later.")
        return DownloadFailed(f"{host} answered {status} for {httpx.URL(url).path}. {advice}")
    reason = str(error) or type(error).__name__
    return DownloadFailed(
        f"Can't reach {host} ({reason}). Check the network and pull again: it goes on from where it was."
    )
