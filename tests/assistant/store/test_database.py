"""Opening a log: new, old, newer, damaged, read-only, full, and by two at once."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.errors import DatabaseDamaged, DatabaseTooNew, DatabaseUnwritable, StoreError
from assistant.store import conversations, derived, exchanges, messages, search
from assistant.store.database import PAGE_BYTES, backup, check, open_database, open_memory, transaction
from assistant.store.migrations import migrations
from assistant.store.recovery import recover, set_aside
from assistant.store.sql_functions import register


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


def test_every_old_schema_upgrades_after_a_backup(file: Path) -> None:
    for names in [
        [step.name for step in migrations._migrations[:count]] for count in range(len(migrations._migrations))
    ]:
        with closing(sqlite3.connect(file)) as connection:
            register(connection)
            old = Database(connection)
            old["notes_of_old"].insert({"id": 1})
            if names:
                migrations.apply(old, stop_before=migrations._migrations[len(names)].name)
        db = open_database(file)
        assert check(db) == []
        assert fill(db)
        db.close()
        backups = list(file.parent.glob("log.before-*.db"))
        assert len(backups) == 1
        assert stat.S_IMODE(backups[0].stat().st_mode) == 0o600
        with closing(sqlite3.connect(backups[0])) as kept:
            assert kept.execute("SELECT id FROM notes_of_old").fetchall() == [(1,)]
        for each in file.parent.glob("log*"):
            each.unlink()


OLD_LOG = """
INSERT INTO conversations (id, created_ms, updated_ms, leaf_id) VALUES (1, 5, 6, NULL);
INSERT INTO messages (id, conversation_id, parent_id, role, content, created_ms, updated_ms, state) VALUES
    (1, 1, NULL, 'user', 'where do whales sing', 5, 5, 'complete'),
    (2, 1, 1, 'assistant', '鲸鱼在海里唱歌', 6, 6, 'complete'), (3, 1, 1, 'assistant', 'half', 6, 6, 'growing');
UPDATE conversations SET leaf_id = 2;
INSERT INTO templates VALUES ('h', 'plain', 'text', 5);
INSERT INTO replies (message_id, model, template_hash, sampling, completion_tokens, logprobs)
    VALUES (2, 'm', 'h', '{}', 2, x'000080bf000000c0')
"""
"""A log as the first version wrote it; two log-probabilities, -1 and -2."""


@pytest.mark.parametrize("count", range(1, len(migrations._migrations) + 1))
def test_what_an_old_log_holds_is_listed_and_found(file: Path, count: int) -> None:
    names = [step.name for step in migrations._migrations]
    with closing(sqlite3.connect(file)) as connection:
        register(connection)
        migrations.apply(Database(connection), stop_before=names[count] if count < len(names) else None)
        connection.executescript(OLD_LOG)
    db = open_database(file)
    assert check(db) == derived.troubles(db) == []
    assert [(one.message_id, one.surprise, one.tokens) for one in exchanges.page(db)] == [(2, 1.5, 2)]
    assert [hit.message_id for hit in search.search(db, "鲸鱼").hits] == [2]
    assert [hit.message_id for hit in search.search(db, "whales").hits] == [1]
    reply = messages.reply_info(db, 2)
    assert reply.outcome.logprobs == [-1.0, -2.0]
    assert (reply.provenance.inputs, reply.outcome.continued_at, reply.outcome.token_lengths) == ({}, None, [])
    db.close()


@pytest.mark.parametrize("count", range(1, len(migrations._migrations) + 1))
def test_an_old_log_is_recovered(file: Path, count: int) -> None:
    names = [step.name for step in migrations._migrations]
    with closing(sqlite3.connect(file)) as connection:
        register(connection)
        migrations.apply(Database(connection), stop_before=names[count] if count < len(names) else None)
        connection.executescript(OLD_LOG)
    new = file.with_name("new.db")
    assert recover(file, new).messages == 3
    with closing(open_database(new)) as db:
        info = messages.reply_info(db, 2)
        assert (info.provenance.model, info.provenance.template, info.outcome.logprobs) == ("m", "plain", [-1.0, -2.0])
        assert check(db) == derived.troubles(db) == []


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
from assistant.store import conversations, derived, exchanges, messages, search
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
