"""Files that are no export: each gets one sentence, and the log stays as it was."""

import json
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.errors import ImportRefused
from assistant.store.files.imports.importer import import_file
from assistant.store.files.values import source
from tests.assistant.store.files import samples
from tests.assistant.store.files.conftest import Take


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n\xef\xbb\xbf", "no format"),
        (b"hello", "no format that can be imported"),
        (b"\x1f\x8b\x08 gzip", "damaged or not whole"),
        (b'{"a": 1}', "its first object has the fields 'a'"),
        (b"[]", "an empty list"),
        (b"[1, 2]", "its first value is a number"),
        (b"{nope", "line 1: expecting property name"),
        (b"[[[", "breaks off"),
        (b"SQLite format 3\0" + b"x" * 200, "can't be read as a database of chats"),
        (b"PK\x03\x04" + b"x" * 200, "damaged or not whole"),
        (b"PK\x05\x06" + b"\0" * 18, "no file that can be imported. It holds nothing"),
    ],
)
def test_what_is_no_export_is_told(memory: Database, take: Take, content: bytes, told: str) -> None:
    with pytest.raises(ImportRefused, match=told) as refused:
        take(content)
    assert "\n" not in str(refused.value)
    assert memory["conversations"].count == 0


def test_what_cannot_be_opened_is_told(memory: Database, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ImportRefused, match=r"It holds nothing|No such file"):
            import_file(memory, path)


def zipped(path: Path, files: dict[str, Any], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, value in files.items():
            archive.writestr(name, value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize("name", ["../conversations.json", "/etc/x", "a/../../b", "C:\\x", "..\\x"])
def test_a_path_that_climbs_out_is_refused(memory: Database, tmp_path: Path, name: str) -> None:
    file = zipped(tmp_path / "x.zip", {"conversations.json": samples.CLAUDE, name: "x"})
    with pytest.raises(ImportRefused, match="outside its folder"):
        import_file(memory, file)


def test_a_zip_bomb_is_refused_unread(memory: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BOMB_BYTES", 100_000)
    file = zipped(tmp_path / "x.zip", {"conversations.json": "[" + " " * 1_000_000 + "]"})
    with pytest.raises(ImportRefused, match="zip bomb"):
        import_file(memory, file)


def test_a_zip_that_lies_about_its_size_is_refused(memory: Database, tmp_path: Path) -> None:
    file = zipped(tmp_path / "x.zip", {"conversations.json": json.dumps(samples.CLAUDE) + " " * 1_000_000})
    content = bytearray(file.read_bytes())
    size = struct.pack("<L", len(json.dumps(samples.CLAUDE)) + 1_000_000)
    while (at := content.find(size)) != -1:
        content[at : at + 4] = struct.pack("<L", 3000)
    file.write_bytes(content)
    with pytest.raises(ImportRefused, match="damaged"):
        import_file(memory, file)
    assert memory["conversations"].count == 0


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_zip_is_refused(memory: Database, tmp_path: Path, share: float) -> None:
    file = zipped(tmp_path / "x.zip", {"conversations.json": samples.CHATGPT * 50})
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImportRefused, match="damaged or not whole"):
        import_file(memory, file)


def test_a_damaged_zip_member_takes_nothing_in(memory: Database, tmp_path: Path) -> None:
    rows = [{**samples.CLAUDE[0], "name": os.urandom(40).hex()} for _ in range(300)]
    for number, row in enumerate(rows):
        row["chat_messages"] = [{"sender": "human", "text": f"{number} " + os.urandom(100).hex()}]
    file = zipped(tmp_path / "x.zip", {"conversations.json": rows})
    content = bytearray(file.read_bytes())
    content[len(content) * 3 // 4] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(ImportRefused):
        import_file(memory, file)
    assert memory["conversations"].count == 0


def test_an_encrypted_zip_is_told(memory: Database, tmp_path: Path) -> None:
    file = zipped(tmp_path / "x.zip", {"conversations.json": samples.CLAUDE})
    content = bytearray(file.read_bytes())
    content[6] |= 1  # the flag, in the file's own header and in the directory
    content[content.find(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(content)
    with pytest.raises(ImportRefused, match="encrypted"):
        import_file(memory, file)


def test_a_zip_of_something_else_says_what_it_holds(memory: Database, tmp_path: Path) -> None:
    file = zipped(tmp_path / "x.zip", {"photo.png": "x", "notes.txt": "y"})
    with pytest.raises(ImportRefused, match=r"It holds 'notes\.txt', 'photo\.png'"):
        import_file(memory, file)


def test_nothing_is_extracted(memory: Database, tmp_path: Path) -> None:
    file = zipped(tmp_path / "x.zip", {"conversations.json": samples.CLAUDE})
    assert import_file(memory, file).conversations == 1
    assert list(tmp_path.iterdir()) == [file]
    assert stat.S_ISREG(file.stat().st_mode)


def test_our_own_database_says_what_to_do(memory: Database, tmp_path: Path) -> None:
    from assistant.store.database import open_database

    open_database(tmp_path / "log.db").close()
    with pytest.raises(ImportRefused, match="assistant log export"):
        import_file(memory, tmp_path / "log.db")
