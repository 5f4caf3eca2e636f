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

from assistant.store import derived, exchanges, importing, messages, search, upkeep
from assistant.store.database import PAGE_BYTES, backup, check, open_database
from assistant.store.migrations import migrations
from assistant.store.sql_functions import register
from tests.matrix import matrix

BEGIN = """
import sys
from pathlib import Path
from assistant.store import upkeep
from assistant.store.database import open_database
from assistant.store.files.importer import import_file
print("begins", flush=True)
"""
ACTS = {
    "migration": "open_database(Path(sys.argv[1]))",
    "vacuum": "db = open_database(Path(sys.argv[1])); print('opened', flush=True); upkeep.vacuum(db)",
    "restore": "db = open_database(Path(sys.argv[1])); print('opened', flush=True); "
    "upkeep.restore(db, Path(sys.argv[1]).with_name('kept.db'))",
}
REPLIES = 4_000


def fill(connection: sqlite3.Connection, word: str) -> None:
    """A log as the first versions wrote it, with provenance in every reply."""
    connection.execute("INSERT INTO conversations (id, created_ms, updated_ms) VALUES (1, 5, 6)")
    connection.execute("INSERT INTO templates VALUES ('h', 'plain', 'text', 5)")
    for number in range(1, REPLIES + 1):
        connection.execute(
            "INSERT INTO messages (id, conversation_id, parent_id, role, content, created_ms, updated_ms, state) "
            "VALUES (?, 1, ?, ?, ?, 5, 5, 'complete')",
            (number, number - 1 or None, ("assistant", "user")[number % 2], f"{word} {number} " + "text " * 100),
        )
        if number % 2 == 0:
            connection.execute(
                "INSERT INTO replies (message_id, model, template_hash, sampling, seed, completion_tokens, logprobs) "
                "VALUES (?, 'm', 'h', '{\"temperature\": 0.5}', ?, 2, x'000080bf000000c0')",
                (number, number),
            )


def old_log(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        register(connection)
        migrations.apply(Database(connection), stop_before="provenance_told_once")
        fill(connection, "old")
        connection.commit()


@pytest.mark.slow
@pytest.mark.parametrize("kills", matrix([2, 6]))
@pytest.mark.parametrize("act", ACTS)
def test_a_kill_leaves_the_log_as_before_or_as_after(file: Path, act: str, kills: int) -> None:
    old_log(file)
    if act != "migration":
        open_database(file).close()
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
        old_log(file)
        if act != "migration":
            open_database(file).close()
        run(file, act, took * place / kills)
        with closing(open_database(file)) as db:
            assert check(db) == derived.troubles(db) == []
            assert db["messages"].count == REPLIES
            info = messages.reply_info(db, REPLIES)
            assert (info.provenance.model, info.provenance.seed, info.outcome.logprobs) == ("m", REPLIES, [-1.0, -2.0])
            assert exchanges.count(db) == REPLIES // 2
            assert search.count(db, "old") == REPLIES
            assert db.conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def run(file: Path, act: str, kill_after_s: float | None) -> None:
    """Do it in a program of its own, which is killed so long after it began."""
    with subprocess.Popen([sys.executable, "-c", BEGIN + ACTS[act], str(file)], stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        one.stdout.readline()
        if kill_after_s is None:
            assert one.wait(60) == 0
        else:
            time.sleep(kill_after_s)
            os.kill(one.pid, signal.SIGKILL)


def test_a_backup_of_smaller_pages_is_put_back_and_vacuum_makes_them_larger(file: Path) -> None:
    old_log(file)
    with closing(sqlite3.connect(file)) as old:
        assert old.execute("PRAGMA page_size").fetchone() == (4096,)
        backup(Database(old), file.with_name("kept.db"))
    with closing(open_database(file)) as db, closing(open_database(file)) as other:
        messages.get(other, 1)
        upkeep.vacuum(db)
        assert db.conn.execute("PRAGMA page_size").fetchone() == (4096,)  # another program has it open
    with closing(open_database(file)) as db:
        assert upkeep.troubles(db) == []
        upkeep.vacuum(db)
        assert db.conn.execute("PRAGMA page_size").fetchone() == (PAGE_BYTES,)
        assert db.conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.conn.execute("UPDATE messages SET content = 'new' WHERE id = 1")
        upkeep.restore(db, file.with_name("kept.db"))
        assert messages.get(db, 1).content.startswith("old 1 ")
        assert upkeep.troubles(db) == []


LIMITED = """
import resource, sys
from pathlib import Path
from assistant.errors import DatabaseUnwritable
from assistant.store.database import open_database
from assistant.store.files.importer import import_file
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
