"""Opening a log: new, old, newer, damaged, read-only, full, and by two at once."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations

from assistant.errors import DatabaseDamaged, DatabaseTooNew, DatabaseUnwritable, StoreError
from assistant.store import conversations, database, messages, upkeep
from assistant.store.database import PAGE_BYTES, backup, check, open_database, open_memory, transaction
from assistant.store.recovery import recover, set_aside
from assistant.store.schema import derived
from assistant.store.schema.migrations import migrations
from assistant.store.search import search
from tests.assistant.store.schema.earlier_log import earlier_log


def fill(db: Database, count: int = 40) -> int:
    conversation = conversations.create(db, model="m", template="plain").id
    parent = None
    for number in range(count):
        parent = messages.add_user(db, conversation, parent, f"message {number} " + "x" * 400)
    return conversation


def test_a_new_file_is_private_and_in_wal_mode(db: Database, file: Path) -> None:
    fill(db)
    sides = [file, *file.parent.glob("log.db-*")]
    assert len(sides) == 3
    assert {stat.S_IMODE(side.stat().st_mode) for side in sides} == {0o600}
    assert db.conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.conn.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert check(db) == []


def test_memory_has_the_same_schema(db: Database) -> None:
    with closing(open_memory()) as memory:
        assert memory.schema == db.schema


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Migrations:
    """The steps of a later version: one more."""
    steps = Migrations(migrations.name)
    steps._migrations = [*migrations._migrations]
    steps(name="topics")(lambda db: db.conn.execute("ALTER TABLE conversations ADD COLUMN topic TEXT DEFAULT 'none'"))
    monkeypatch.setattr(database, "migrations", steps)
    return steps


def test_an_older_schema_upgrades_after_a_backup(file: Path, request: pytest.FixtureRequest) -> None:
    with closing(open_database(file)) as db:
        fill(db)
        db["notes_of_old"].insert({"id": 1})
    request.getfixturevalue("later")
    with closing(open_database(file)) as db:
        assert check(db) == derived.troubles(db) == []
        assert db.conn.execute("SELECT DISTINCT topic FROM conversations").fetchall() == [("none",)]
        assert fill(db)
    (kept,) = file.parent.glob("log.before-*.db")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with closing(sqlite3.connect(kept)) as before:
        assert before.execute("SELECT id FROM notes_of_old").fetchall() == [(1,)]
        assert before.execute("SELECT count(*) FROM messages").fetchone() == (40,)
        assert "topic" not in {row[1] for row in before.execute("PRAGMA table_info(conversations)")}


def test_a_step_that_fails_leaves_the_log_as_it_was(file: Path, later: Migrations) -> None:
    later._migrations.pop()
    with closing(open_database(file)) as db:
        fill(db)

    @later(name="fails")
    def _(db: Database) -> None:
        db.conn.execute("DELETE FROM messages")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        open_database(file)
    later._migrations.pop()
    with closing(open_database(file)) as db:
        assert len(messages.all_of(db, 1)) == 40


def test_an_older_log_is_recovered(file: Path, request: pytest.FixtureRequest) -> None:
    with closing(open_database(file)) as db:
        fill(db)
    request.getfixturevalue("later")
    new = file.with_name("new.db")
    assert recover(file, new).messages == 40
    with closing(open_database(new)) as db:
        assert check(db) == derived.troubles(db) == []
        assert db.conn.execute("SELECT topic FROM conversations").fetchall() == [("none",)]


def test_recovery_copies_every_table(file: Path) -> None:
    open_database(earlier_log(file)).close()
    new = file.with_name("new.db")
    recover(file, new)
    with closing(open_database(new)) as db, closing(sqlite3.connect(file)) as before:
        for table in db.table_names():
            if not table.startswith(("messages_words", "_sqlite", "meaning", "doubles", "sqlite_sequence")):
                found, expected = (set(one.execute(f"SELECT * FROM {table}")) for one in (db.conn, before))
                assert found == expected, table
        assert upkeep.troubles(db) == []


def test_a_log_before_the_first_release_is_recovered_without_its_tokens(file: Path) -> None:
    new = file.with_name("new.db")
    assert recover(earlier_log(file), new).messages == 21
    with closing(open_database(new)) as db:
        info = messages.reply_info(db, 2)
        assert (info.provenance.model, info.outcome.completion_tokens) == ("smollm2-135m-instruct", 26)
        assert info.outcome.token_ids == []
        assert upkeep.troubles(db) == []


def test_a_row_of_an_unknown_kind_is_not_recovered(db: Database, file: Path) -> None:
    conversation = fill(db, 3)
    db.conn.execute("PRAGMA foreign_keys = OFF")
    db.conn.execute("UPDATE messages SET role = 'nobody' WHERE id = 2")
    db.close()
    new = file.with_name("new.db")
    assert recover(file, new).messages == 2
    with closing(open_database(new)) as db:
        assert [row.parent_id for row in messages.all_of(db, conversation)] == [None, 1]
        assert upkeep.troubles(db) == []


def test_a_sound_file_is_not_backed_up_again(db: Database, file: Path) -> None:
    db.close()
    open_database(file).close()
    assert not list(file.parent.glob("log.before-*"))


def test_a_newer_file_is_refused_and_left_alone(db: Database, file: Path) -> None:
    db["_sqlite_migrations"].insert({"migration_set": "assistant", "name": "from_the_future", "applied_at": "2099"})
    db.close()
    before = file.read_bytes()
    with pytest.raises(DatabaseTooNew, match="from_the_future"):
        open_database(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["no database", "header", "cut"])
def test_a_damaged_file_is_told_and_left_alone(db: Database, file: Path, damage: str) -> None:
    fill(db, 200)
    db.close()
    whole = file.read_bytes()
    damaged = {"no database": b"hello " * 1000, "header": b"\0" * 100 + whole[100:], "cut": whole[:6000]}[damage]
    file.write_bytes(damaged)
    with pytest.raises(DatabaseDamaged, match="damaged"):
        open_database(file)
    assert file.read_bytes() == damaged


def test_recovery_copies_what_can_be_read(db: Database, file: Path) -> None:
    conversation = fill(db, 400)
    db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    query = "SELECT pgoffset FROM dbstat WHERE name = 'messages' AND pagetype = 'leaf' ORDER BY path"
    leaves = [row[0] for row in db.conn.execute(query)]
    db.close()
    content = bytearray(file.read_bytes())
    middle = leaves[len(leaves) // 2 - 1]
    content[middle : middle + PAGE_BYTES] = os.urandom(PAGE_BYTES)
    file.write_bytes(content)
    aside = set_aside(file)
    assert not file.exists()
    assert aside.read_bytes() == content
    found = recover(aside, file)
    assert found.conversations >= 1
    assert 100 < found.messages < 400
    db = open_database(file)
    assert check(db) == []
    leaf = conversations.get(db, conversation).leaf_id
    assert leaf is not None
    texts = [row.content.split(" x")[0] for row in messages.path(db, leaf)]
    assert texts[0] == "message 0"
    assert texts[-1] == "message 399"
    assert derived.troubles(db) == []
    assert search.count(db, "message 399") == 1
    db.close()


def test_recovery_overwrites_nothing(file: Path) -> None:
    open_database(file).close()
    with pytest.raises(DatabaseDamaged, match="exists already"):
        recover(file, file)


def test_setting_aside_twice_makes_two_names(file: Path) -> None:
    names = set()
    for _ in range(3):
        file.write_bytes(b"x")
        names.add(set_aside(file))
    assert len(names) == 3
    assert all(name.exists() for name in names)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DatabaseUnwritable, match="ASSISTANT_HOME"):
        open_database(tmp_path / "log.db")
    tmp_path.chmod(0o700)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnwritable, match="ASSISTANT_HOME"):
        open_database(tmp_path / "none" / "log.db")


def test_a_full_disk_is_told_and_nothing_is_half_written(db: Database) -> None:
    conversation = fill(db, 3)
    pages = db.conn.execute("PRAGMA page_count").fetchone()[0]
    db.conn.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(DatabaseUnwritable, match="full"):
        messages.add_user(db, conversation, None, "y" * 100_000)
    assert len(messages.all_of(db, conversation)) == 3
    assert check(db) == []


def test_a_lock_held_for_too_long_is_told(db: Database, file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        db.conn.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(StoreError, match="locked"):
            conversations.create(db)


def test_a_transaction_is_all_or_nothing(db: Database) -> None:
    with pytest.raises(ZeroDivisionError), transaction(db):
        conversations.create(db)
        raise ZeroDivisionError
    assert conversations.count(db) == 0


def test_a_backup_is_whole_and_private(db: Database, tmp_path: Path) -> None:
    fill(db)
    backup(db, tmp_path / "copy.db")
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    copy = open_database(tmp_path / "copy.db")
    assert len(messages.all_of(copy, 1)) == 40
    copy.close()


WRITER = """
import sys
from pathlib import Path
from assistant.store import conversations, messages
from assistant.store.database import open_database
db = open_database(Path(sys.argv[1]))
one = conversations.create(db).id
parent = None
for number in range(100):
    parent = messages.add_user(db, one, parent, f"{sys.argv[2]} {number}")
"""


def test_programs_open_and_write_a_new_file_at_once(file: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), str(number)], stderr=subprocess.PIPE)
        for number in range(3)
    ]
    for writer in writers:
        _, trouble = writer.communicate(timeout=60)
        assert writer.returncode == 0, trouble.decode()
    db = open_database(file)
    assert db["messages"].count == 300
    assert check(db) == []
    db.close()
