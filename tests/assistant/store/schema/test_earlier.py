"""A log of the schema before the first release, opened: `log_before_first_release.db.gz` was written by that program.

Its replies have tokens in each of the eight ways of that schema; the JSON beside it says what that program read there.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import StoreError
from assistant.store import conversations, messages, upkeep
from assistant.store.database import check, open_database, open_memory
from assistant.store.judgements import curation
from assistant.store.schema import derived
from assistant.store.search import search
from tests.assistant.store.schema.earlier_log import EXPECTED, earlier_log

NEW = {"roles", "message_states", "decisions", "ratings", "dataset_kinds", "splits", "run_states", "promotion_actions"}
MADE_AGAIN = {"exchanges", "token_ids", "_sqlite_migrations"}


@pytest.fixture
def old(file: Path) -> Path:
    return earlier_log(file)


def rows(connection: sqlite3.Connection, table: str, columns: str) -> list[Any]:
    return sorted(connection.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def tables(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name for (name,) in found if not name.startswith("messages_words")}


def test_every_row_comes_over(old: Path) -> None:
    with closing(open_database(old)) as db, closing(open_memory()) as memory:
        (backup,) = old.parent.glob("log.before-*.db")
        with closing(sqlite3.connect(backup)) as before:
            assert tables(db.conn) == tables(memory.conn) == (tables(before) - {"token_ids"}) | NEW
            for table in tables(before) - MADE_AGAIN:
                same = columns(before, table) & columns(db.conn, table)
                assert same >= columns(before, table) - {"token_ids", "logprobs", "token_lengths"}
                named = ", ".join(sorted(same))
                assert rows(before, table, named) == rows(db.conn, table, named), table
                if table != "meaning_stale" and table != "importing":
                    assert rows(before, table, named), f"the old log has no {table}"
        schema = "SELECT type, name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY type, name"
        assert db.conn.execute(schema).fetchall() == memory.conn.execute(schema).fetchall()


def test_tokens_and_exchanges_are_as_the_earlier_program_read_them(old: Path) -> None:
    with closing(open_database(old)) as db:
        for message_id, expected in EXPECTED["tokens"].items():
            outcome = messages.reply_info(db, int(message_id)).outcome
            assert (outcome.token_ids, outcome.token_lengths) == (expected["token_ids"], expected["token_lengths"])
            assert outcome.logprobs == pytest.approx(expected["logprobs"], rel=0.032, abs=0.008)
        exchanges = db.conn.execute("SELECT * FROM exchanges ORDER BY message_id").fetchall()
        assert [list(row) for row in exchanges] == [
            [pytest.approx(value, abs=0.002) if isinstance(value, float) else value for value in row]
            for row in EXPECTED["exchanges"]
        ]
        assert check(db) == derived.troubles(db) == []
        assert [hit.message_id for hit in search.search(db, "渔船").hits] == [4]


def test_it_is_used_as_any_other(old: Path) -> None:
    with closing(open_database(old)) as db:
        last = db.conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()[0]
        new = messages.add_user(db, conversations.create(db).id, None, "now")
        assert new == last + 1 > db.conn.execute("SELECT max(id) FROM messages WHERE id < ?", (new,)).fetchone()[0] + 1
        assert curation.undo(db) and curation.undo(db)
        upkeep.vacuum(db)
        assert upkeep.troubles(db) == []
    open_database(old).close()
    assert len(list(old.parent.glob("log.before-*.db"))) == 1


def test_a_backup_of_it_is_put_back(old: Path) -> None:
    backup = old.rename(old.with_name("kept.db"))
    with closing(open_database(old)) as db:
        upkeep.restore(db, backup)
        assert db["messages"].count == 21
        assert upkeep.troubles(db) == []


def test_a_log_of_half_its_steps_is_refused_and_left_alone(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'acts_of_many'")
        connection.commit()
    with pytest.raises(StoreError, match="development version"):
        open_database(old)
    with closing(sqlite3.connect(old)) as connection:
        assert "token_ids" in tables(connection)
