"""Kill -9, and a disk that is full, in the middle of what rewrites the log: it is as before or as after."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.store import conversations, messages, upkeep
from assistant.store.database import PAGE_BYTES, backup, check, open_database, transaction
from assistant.store.files.imports import importing
from assistant.store.messages import Outcome, Provenance
from assistant.store.schema import derived
from assistant.store.schema.sql_functions import register
from assistant.store.search import exchanges, search
from tests.assistant.store.schema.earlier_log import earlier_log
from tests.matrix import matrix

BEGIN = """
import sys
from pathlib import Path
from assistant.store import upkeep
from assistant.store.database import open_database
from assistant.store.files.imports.importer import import_file
print("begins", flush=True)
"""
ACTS = {
    "migration": "open_database(Path(sys.argv[1]))",
    "earlier schema": "open_database(Path(sys.argv[1]))",
    "vacuum": "db = open_database(Path(sys.argv[1])); print('opened', flush=True); upkeep.vacuum(db)",
    "restore": "db = open_database(Path(sys.argv[1])); print('opened', flush=True); "
    "upkeep.restore(db, Path(sys.argv[1]).with_name('kept.db'))",
}
STEP = """
from assistant.store.schema.migrations import migrations
@migrations()
def upper(db):
    db.conn.execute("ALTER TABLE messages ADD COLUMN upper TEXT NOT NULL DEFAULT ''")
    db.conn.execute("UPDATE messages SET upper = upper(content)")
    db.conn.execute("UPDATE messages SET content = content || ' '")
"""
"""A step of a later version, which writes every message."""
REPLIES = 4_000
PROVENANCE = Provenance("m", "plain", "h", "text", {"temperature": 0.5}, 7)


def filled(file: Path, word: str = "old") -> None:
    with closing(open_database(file)) as db, transaction(db):
        one, parent = conversations.create(db, model="m").id, None
        for number in range(1, REPLIES // 2 + 1):
            user = messages.add_user(db, one, parent, f"{word} {number} " + "text " * 100)
            parent = messages.begin_reply(db, one, user, PROVENANCE)
            messages.end_reply(db, parent, f"{word} {number} " + "text " * 100, "complete", DONE)


DONE = Outcome("m", completion_tokens=2, logprobs=[-1.0, -2.0])


def earlier(file: Path) -> None:
    """A log of the schema before the first release, of the same content."""
    with closing(sqlite3.connect(earlier_log(file), isolation_level=None)) as old:
        register(old)
        old.create_function("surprise", 1, lambda _: 1.5)
        old.execute("PRAGMA foreign_keys = ON")
        old.execute("BEGIN")
        old.execute("DELETE FROM messages")
        old.execute("DELETE FROM conversations")
        old.execute("INSERT INTO conversations (id, created_ms, updated_ms) VALUES (1, 5, 6)")
        old.execute("INSERT INTO templates VALUES ('h', 'plain', 'text', 5)")
        for number in range(1, REPLIES + 1):
            old.execute(
                "INSERT INTO messages (id, conversation_id, parent_id, role, content, created_ms, updated_ms, state) "
                "VALUES (?, 1, ?, ?, ?, 5, 5, 'complete')",
                (number, number - 1 or None, ("assistant", "user")[number % 2], f"old {number} " + "text " * 100),
            )
            if number % 2 == 0:
                old.execute(
                    "INSERT INTO replies (message_id, model, template_hash, sampling, seed, logprobs) "
                    "VALUES (?, 'm', 'h', '{\"temperature\": 0.5}', 7, x'000080bf000000c0')",
                    (number,),
                )
        old.execute("COMMIT")


@pytest.mark.slow
@pytest.mark.parametrize("kills", matrix([2, 6]))
@pytest.mark.parametrize("act", ACTS)
def test_a_kill_leaves_the_log_as_before_or_as_after(file: Path, act: str, kills: int) -> None:
    make = earlier if act == "earlier schema" else filled
    make(file)
    if act == "restore":
        with closing(open_database(file)) as db:
            backup(db, file.with_name("kept.db"))
            db.conn.execute("UPDATE messages SET content = 'new' WHERE id = 1")
    began = time.monotonic()
    run(file, act, None)
    took = time.monotonic() - began
    for place in range(kills):
        for one in file.parent.glob("log*"):
            one.unlink()
        make(file)
        run(file, act, took * place / kills)
        if act == "migration":
            assert_the_step_is_done_or_not(file)
        with closing(open_database(file)) as db:
            assert check(db) == derived.troubles(db) == []
            assert db["messages"].count == REPLIES
            info = messages.reply_info(db, REPLIES)
            assert (info.provenance.model, info.provenance.seed, info.outcome.logprobs) == ("m", 7, [-1.0, -2.0])
            assert exchanges.count(db) == REPLIES // 2
            assert search.count(db, "old") == REPLIES
            assert db.conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def assert_the_step_is_done_or_not(file: Path) -> None:
    """All of it or nothing; then take it back, as this version doesn't know it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        register(db)
        done = db.execute("SELECT 1 FROM _sqlite_migrations WHERE name = 'upper'").fetchone()
        columns = {row[1] for row in db.execute("PRAGMA table_info(messages)")}
        (written,) = db.execute("SELECT count(*) FROM messages WHERE content LIKE '%  '").fetchone()
        assert ("upper" in columns, written) == ((True, REPLIES) if done else (False, 0))
        db.execute("DELETE FROM _sqlite_migrations WHERE name = 'upper'")


def run(file: Path, act: str, kill_after_s: float | None) -> None:
    """Do it in a program of its own, which is killed so long after it began."""
    step = STEP if act == "migration" else ""
    with subprocess.Popen([sys.executable, "-c", step + BEGIN + ACTS[act], str(file)], stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        one.stdout.readline()
        if kill_after_s is None:
            assert one.wait(60) == 0
        else:
            time.sleep(kill_after_s)
            os.kill(one.pid, signal.SIGKILL)


def test_a_backup_of_smaller_pages_is_put_back_and_vacuum_makes_them_larger(file: Path) -> None:
    earlier_log(file)
    with closing(sqlite3.connect(file)) as old:
        assert old.execute("PRAGMA page_size").fetchone() == (1024,)
        backup(Database(old), file.with_name("kept.db"))
    with closing(open_database(file)) as db, closing(open_database(file)) as other:
        messages.get(other, 1)
        upkeep.vacuum(db)
        assert db.conn.execute("PRAGMA page_size").fetchone() == (1024,)  # another program has it open
    with closing(open_database(file)) as db:
        assert upkeep.troubles(db) == []
        upkeep.vacuum(db)
        assert db.conn.execute("PRAGMA page_size").fetchone() == (PAGE_BYTES,)
        assert db.conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.conn.execute("UPDATE messages SET content = 'new' WHERE id = 1")
        upkeep.restore(db, file.with_name("kept.db"))
        assert messages.get(db, 1).content == "When was the lighthouse built?"
        assert upkeep.troubles(db) == []


LIMITED = """
import resource, sys
from pathlib import Path
from assistant.errors import DatabaseUnwritable
from assistant.store.database import open_database
from assistant.store.files.imports.importer import import_file
db = open_database(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
try:
    import_file(db, Path(sys.argv[2]))
except DatabaseUnwritable as error:
    print(error)
"""


def test_an_import_that_no_longer_fits_on_the_disk_leaves_nothing(file: Path, tmp_path: Path) -> None:
    answer = "answer " * 200
    lines = [json.dumps({"prompt": f"question {number}", "completion": answer}) for number in range(6_000)]
    (tmp_path / "file.jsonl").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(file), str(tmp_path / "file.jsonl")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "can't be written" in done.stdout or "full" in done.stdout
    with closing(open_database(file)) as db:
        importing.take_out_left(db)
        assert (db["conversations"].count, db["messages"].count, db["importing"].count) == (0, 0, 0)
        assert check(db) == derived.troubles(db) == []
