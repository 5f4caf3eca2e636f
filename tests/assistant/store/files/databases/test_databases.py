"""Databases of other programs."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.errors import ImportRefused
from assistant.store.files.imports.importer import import_file
from tests.assistant.store.files.databases.samples import database
from tests.assistant.store.files.exports.stored import stored


def test_oterm(memory: Database, tmp_path: Path) -> None:
    report = import_file(memory, database(tmp_path, "oterm"))
    assert (report.format, report.conversations, report.messages) == ("oterm", 2, 4)
    found = stored(memory)
    assert found.said == [(None, "user", "What is a fjord?"), (0, "assistant", "An inlet.")]
    assert (found.title, found.system, found.models) == ("Fjords", "Be brief.", {"An inlet.": "m"})
    assert stored(memory, 2).said == [(None, "user", "Hi"), (0, "assistant", "Hello.")]
    assert report.left == {"image attachments left out": 2, "'tools' fields left out": 1}


def test_oterms_first_schema(memory: Database, tmp_path: Path) -> None:
    report = import_file(memory, database(tmp_path, "oterm-old"))
    assert stored(memory).said == [(None, "user", "What is a fjord?"), (0, "assistant", "An inlet.")]
    assert report.left == {"other messages left out": 1}


def test_ollama(memory: Database, tmp_path: Path) -> None:
    report = import_file(memory, database(tmp_path, "ollama"))
    assert (report.format, report.conversations) == ("ollama", 2)
    found = stored(memory)
    assert found.said == [(None, "user", "What is a fjord?"), (0, "assistant", "<think>\nIce.\n</think>\n\nAn inlet.")]
    assert (found.title, list(found.models.values())) == ("Fjords", ["m"])
    assert memory.execute("SELECT created_ms FROM conversations WHERE id = 1").fetchone() == (1_767_323_045_123,)
    assert report.left == {
        "file attachments left out": 1,
        "tool calls left out": 1,
        "tool messages left out": 1,
        "empty messages passed over": 1,
        "thoughts put before their reply": 1,
    }
    assert import_file(memory, database(tmp_path, "ollama")).doubles == 2


def test_a_chat_of_ollama_goes_on(memory: Database, tmp_path: Path) -> None:
    file = database(tmp_path, "ollama")
    import_file(memory, file)
    with closing(sqlite3.connect(file)) as db:
        db.execute("INSERT INTO messages (chat_id, role, content) VALUES ('b', 'user', 'And now?')")
        db.commit()
    report = import_file(memory, file)
    assert (report.conversations, report.went_on, report.messages) == (0, 1, 1)


def test_another_database_is_refused(memory: Database, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        db.execute("CREATE TABLE messages (id INTEGER, body TEXT)")
    with pytest.raises(ImportRefused, match="a database of another program"):
        import_file(memory, tmp_path / "x.db")


def test_the_time_grows_with_the_messages(memory: Database, tmp_path: Path) -> None:
    file = database(tmp_path, "oterm")
    with closing(sqlite3.connect(file)) as db:
        db.executemany("INSERT INTO chat (id, name, model) VALUES (?, ?, 'm')", ((n, str(n)) for n in range(10, 2010)))
        rows = ((n % 2000 + 10, ("user", "assistant")[n // 2000 % 2], f"said {n}") for n in range(8000))
        db.executemany("INSERT INTO message (chat_id, author, text) VALUES (?, ?, ?)", rows)
        db.commit()
    start = time.process_time()
    assert import_file(memory, file, dry_run=True).messages == 8004
    assert time.process_time() - start < 5
