"""A file that is to be imported, opened with bounds: as it is, unpacked from gzip, or in a zip that is never extracted.

`sources` finds the files in folders and zips. A folder of an export has its conversations in `conversations*.json`; of
any other folder every file that may hold conversations is read, and the rest is counted.
"""

import gzip
import io
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import IO, Any, TextIO

from assistant.errors import ImportRefused
from assistant.store.files.values import json_values
from assistant.store.files.values.fields import count

MOST_BYTES = 32 << 30
"""What a zip may unpack to. A heavy user's ten years are under 2 GB."""
BOMB_BYTES = 64 << 20
BOMB_RATIO = 200
"""Chats shrink 5 to 20 times; what is larger than `BOMB_BYTES` and shrank more than this was made to fill a disk."""

_CONVERSATIONS = re.compile(r"conversations([-_]?\d+)?\.json(\.gz)?", re.IGNORECASE)
_READABLE = (".json", ".jsonl", ".ndjson", ".md", ".markdown", ".json.gz", ".jsonl.gz", ".ndjson.gz", ".parquet")
_DATABASES = (".db", ".sqlite", ".sqlite3")
_COMPANIONS = frozenset({"thread.json", "message_feedback.json", "dataset_info.json"})
"""Files that say more of the conversations in the file beside them, and hold none."""
_HEAD_BYTES = 4096


@dataclass(eq=False)
class Source:
    """One file. `name` is how a report calls it; `done_bytes` of `total_bytes`, as they are stored, have been read."""

    path: Path
    """The file itself, or the zip that it is in."""
    name: str
    total_bytes: int
    open: Callable[[], IO[bytes]] = field(repr=False)
    beside: Callable[[str], "IO[bytes] | None"] = field(repr=False)
    """Opens another file of the same folder by its name."""
    label: str = ""
    """What an error calls it."""
    done_bytes: int = 0
    cut: bool = False
    """Whether its compressed data ended too early; set while `text` is read."""

    def __post_init__(self) -> None:
        self.label = self.label or str(self.path)
        with explained(self.path), self.open() as file:
            self.head = file.read(_HEAD_BYTES)

    @property
    def stem(self) -> str:
        """The name of the file without its folder and ending."""
        return PurePosixPath(self.name).name.removesuffix(".gz").rsplit(".", 1)[0]

    @property
    def is_sqlite(self) -> bool:
        return self.head.startswith(b"SQLite format 3\0")

    @property
    def is_parquet(self) -> bool:
        return self.head.startswith(b"PAR1")

    @contextmanager
    def text(self, *, salvage: bool = False) -> Iterator[TextIO]:
        """The file as text. With `salvage`, compressed data that breaks off ends there; else it is refused."""
        with explained(self.path), ExitStack() as stack:
            raw: IO[bytes] = stack.enter_context(self.open())
            counted: io.RawIOBase = _Counted(raw, self)
            if self.head.startswith(b"\x1f\x8b"):
                unpacked = stack.enter_context(gzip.GzipFile(fileobj=io.BufferedReader(counted, 1 << 16)))
                counted = _Guarded(unpacked, self, salvage=salvage)
            yield _decoded(io.BufferedReader(counted, 1 << 16))

    def object_beside(self, name: str) -> Mapping[str, Any]:
        """The first JSON object of another file of the same folder; empty where there is none."""
        return next(iter(self.values_beside(name)), {})

    def values_beside(self, name: str) -> list[dict[str, Any]]:
        """The JSON objects of another file of the same folder, which is read whole; none where it isn't there."""
        with explained(self.path):
            file = self.beside(name)
            if file is None:
                return []
            with file:
                content = file.read(BOMB_BYTES)
        values = json_values.values(io.StringIO(content.decode("utf-8-sig", "replace")))
        return [value for _, value in values if isinstance(value, dict)]


@dataclass
class Sources:
    """The files to import. Other files are counted by their endings."""

    files: list[Source] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    others: list[str] = field(default_factory=list)
    """The names of the files that are left out."""


@contextmanager
def sources(paths: Iterable[Path]) -> Iterator[Sources]:
    """The files of these paths, in order. Raises `ImportRefused` for a path that holds none, or harm."""
    with ExitStack() as stack:
        found = Sources()
        for path in paths:
            before = len(found.files)
            with explained(path):
                if path.is_dir():
                    _add_folder(path, found, stack)
                else:
                    _add_file(path, path.name, found, stack)
            if len(found.files) == before:
                names = ", ".join(repr(name[:40]) for name in found.others[:5]) or "nothing"
                raise ImportRefused(f"{path} holds no file that can be imported. It holds {names}.")
        yield found


def _add_file(path: Path, name: str, found: Sources, stack: ExitStack) -> None:
    if not path.is_file() and path.exists():
        raise ImportRefused(f"{path} is no regular file. Write what it gives to a file, and import that.")
    with path.open("rb") as file:
        is_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    if is_zip:
        _add_zip(path, found, stack)
    else:
        size = path.stat().st_size
        found.files.append(
            Source(path, name, size, lambda: path.open("rb"), lambda other: _opened(path.parent / other))
        )


def _opened(path: Path) -> IO[bytes] | None:
    return path.open("rb") if path.is_file() else None


def _add_folder(folder: Path, found: Sources, stack: ExitStack) -> None:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in _chosen(sorted(names), found, (*_READABLE, *_DATABASES, ".zip"), Path(parent)):
            path = Path(parent) / name
            _add_file(path, str(path.relative_to(folder)), found, stack)


def _chosen(names: Iterable[str], found: Sources, endings: tuple[str, ...], folder: Path | None = None) -> list[str]:
    """Those files of one folder that may hold conversations; the others are counted."""
    files = [name for name in names if not _is_hidden(name) and PurePosixPath(name).name not in _COMPANIONS]
    conversations = [name for name in files if _CONVERSATIONS.fullmatch(PurePosixPath(name).name)]
    chosen = conversations or [name for name in files if name.lower().endswith(endings) or _is_bare_json(folder, name)]
    for name in sorted({*files} - {*chosen}):
        found.others.append(name)
        count(found.left, f"'{PurePosixPath(name).suffix.lower()[:20] or PurePosixPath(name).name[:40]}' files")
    return chosen


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _is_bare_json(folder: Path | None, name: str) -> bool:
    """Whether a file without an ending is JSON, as the prompts of AI Studio are."""
    if folder is None or PurePosixPath(name).suffix:
        return False
    with (folder / name).open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")


def _add_zip(path: Path, found: Sources, stack: ExitStack) -> None:
    archive = stack.enter_context(zipfile.ZipFile(path))
    infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    for name in infos:
        if _climbs_out(name):
            raise ImportRefused(
                f"{path} holds a file that would land outside its folder: {name[:80]!r}. "
                "No honest export does; nothing was read."
            )
    by_folder = groupby(sorted(infos, key=_by_folder), key=lambda name: PurePosixPath(name).parent)
    chosen = [infos[name] for _, names in by_folder for name in _chosen(names, found, _READABLE)]
    _refuse_bomb(chosen, path)
    for info in chosen:
        found.files.append(_member(archive, info, path))


def _by_folder(name: str) -> tuple[PurePosixPath, str]:
    return PurePosixPath(name).parent, name


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Source:
    folder = PurePosixPath(info.filename).parent

    def beside(name: str) -> IO[bytes] | None:
        try:
            return archive.open(str(folder / name))
        except KeyError:
            return None

    return Source(path, info.filename, info.file_size, lambda: archive.open(info), beside, f"{path}, {info.filename},")


def _decoded(file: io.BufferedReader) -> TextIO:
    start = file.peek(4)[:4]
    wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))  # as Windows' shell writes it
    # What is no UTF-8 becomes a half character, which is replaced and counted when the turn is settled.
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    return io.TextIOWrapper(file, encoding=encoding, errors=errors)


class _Counted(io.RawIOBase):
    """A file that counts what is read of it."""

    def __init__(self, file: IO[bytes], source: Source) -> None:
        self._file = file
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        with explained(self._source.path):
            read = self._file.read(len(buffer))
        buffer[: len(read)] = read
        self._source.done_bytes += len(read)
        return len(read)


class _Guarded(io.RawIOBase):
    """Unpacked data that may break off."""

    def __init__(self, file: gzip.GzipFile, source: Source, *, salvage: bool) -> None:
        self._file = file
        self._source = source
        self._salvage = salvage

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        try:
            read = self._file.read1(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if not self._salvage:
                raise ImportRefused(
                    f"{self._source.label} is damaged or not whole ({error}). Nothing was imported. Get the file "
                    "again, or import what is whole with --salvage."
                ) from error
            self._source.cut = True
            return 0
        buffer[: len(read)] = read
        return len(read)


def _climbs_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or name.startswith(("/", "\\")) or bool(re.match(r"[A-Za-z]:", name))


def _refuse_bomb(chosen: list[zipfile.ZipInfo], path: Path) -> None:
    size = sum(info.file_size for info in chosen)
    packed = sum(info.compress_size for info in chosen)
    if size > MOST_BYTES or (size > BOMB_BYTES and size > BOMB_RATIO * max(packed, 1)):
        raise ImportRefused(
            f"{path} would unpack {packed:,} bytes to {size:,}: that is no export of chats but a zip bomb. "
            "If it is an export, unpack it yourself and import the file inside."
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise `ImportRefused` for what is wrong with the file itself."""
    try:
        yield
    except OSError as error:
        raise ImportRefused(f"{path} can't be read: {error.strerror or error}.") from error
    except NotImplementedError as error:
        raise ImportRefused(f"{path} is packed in a way that can't be read here ({error}). Unpack it first.") from error
    except RuntimeError as error:
        if "password" not in str(error):
            raise
        raise ImportRefused(f"{path} is encrypted. Unpack it first.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ImportRefused(f"{path} is damaged or not whole ({error}). Get it again; nothing was imported.") from error
