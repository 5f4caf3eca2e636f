"""A file that is to be imported, opened with bounds: as it lies, or in a zip that is never extracted."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TextIO

from assistant.errors import ImportRefused

MOST_BYTES = 32 << 30
"""What a zip may unpack to. A heavy user's ten years are under 2 GB."""
BOMB_BYTES = 64 << 20
BOMB_RATIO = 200
"""Chats shrink 5 to 20 times; what is larger than `BOMB_BYTES` and shrank more than this was made to fill a disk."""

_CONVERSATIONS = re.compile(r"conversations([-_]?\d+)?\.json", re.IGNORECASE)
_READABLE = (".json", ".jsonl", ".ndjson", ".md", ".markdown")


class Source:
    """One file. `head` is how it begins; `done_bytes` of `total_bytes` (unpacked) have been read by `texts`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done_bytes = 0
        with _explained(path), path.open("rb") as file:
            self.head = file.read(4096)
            self.total_bytes = path.stat().st_size
        self._members: list[str] = []
        if self.is_zip:
            with self._archive() as archive:
                chosen = _chosen(archive, path)
            self._members = [info.filename for info in chosen]
            self.total_bytes = sum(info.file_size for info in chosen)

    @property
    def is_zip(self) -> bool:
        return self.head.startswith((b"PK\x03\x04", b"PK\x05\x06"))

    @property
    def is_sqlite(self) -> bool:
        return self.head.startswith(b"SQLite format 3\0")

    @contextmanager
    def texts(self) -> Iterator[Iterator[TextIO]]:
        """The file as text, or each of a zip's conversation files in turn."""
        with _explained(self.path):
            if not self.is_zip:
                with self.path.open("rb") as file:
                    yield iter([self._text(file)])
                return
            with self._archive() as archive:
                yield (self._text(archive.open(name)) for name in self._members)

    def beside(self, name: str) -> TextIO | None:
        """Another file of the same zip by its base name, or None. It must be small, and is read whole."""
        if not self.is_zip:
            return None
        with _explained(self.path), self._archive() as archive:
            for info in archive.infolist():
                if PurePosixPath(info.filename).name == name and info.file_size <= BOMB_BYTES:
                    return io.StringIO(archive.read(info).decode("utf-8-sig", "replace"))
        return None

    def _archive(self) -> zipfile.ZipFile:
        with _explained(self.path):
            return zipfile.ZipFile(self.path)

    def _text(self, file: IO[bytes]) -> TextIO:
        counted = io.BufferedReader(_Counted(file, self), 1 << 16)
        start = counted.peek(4)[:4]
        wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))  # as Windows' shell writes it
        # What is no UTF-8 becomes a half character, which is replaced and counted when the turn is settled.
        encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
        return io.TextIOWrapper(counted, encoding=encoding, errors=errors)


class _Counted(io.RawIOBase):
    """A file that counts what is read of it."""

    def __init__(self, file: IO[bytes], source: Source) -> None:
        self._file = file
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        with _explained(self._source.path):
            read = self._file.read(len(buffer))
        buffer[: len(read)] = read
        self._source.done_bytes += len(read)
        return len(read)


def _chosen(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The conversation files of the zip, in order. Raises `ImportRefused` for one made to do harm, or without any."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    for info in files:
        if _climbs_out(info.filename):
            raise ImportRefused(
                f"{path} holds a file that would land outside its folder: {info.filename[:80]!r}. "
                "No honest export does; nothing was read."
            )
    chosen = [info for info in files if _CONVERSATIONS.fullmatch(PurePosixPath(info.filename).name)]
    if not chosen:
        chosen = [info for info in files if info.filename.lower().endswith(_READABLE)]
        if len(chosen) != 1:
            names = ", ".join(repr(info.filename[:40]) for info in files[:5]) or "nothing"
            raise ImportRefused(f"{path} holds no conversations.json. It holds {names}.")
    _refuse_bomb(chosen, path)
    return sorted(chosen, key=lambda info: info.filename)


def _climbs_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or name.startswith(("/", "\\")) or bool(re.match(r"[A-Za-z]:", name))


def _refuse_bomb(chosen: list[zipfile.ZipInfo], path: Path) -> None:
    size = sum(info.file_size for info in chosen)
    packed = sum(info.compress_size for info in chosen)
    if size > MOST_BYTES or (size > BOMB_BYTES and size > BOMB_RATIO * max(packed, 1)):
        raise ImportRefused(
            f"{path} would unpack {packed:,} bytes to {size:,}: that is no export of chats but a zip bomb. "
            "If it is one, unpack it yourself and import the file inside."
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise `ImportRefused` for what is wrong with the file itself."""
    try:
        yield
    except IsADirectoryError as error:
        raise ImportRefused(f"{path} is a folder. Name the file in it.") from error
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
