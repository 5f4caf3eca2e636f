"""Delete means delete: rows, words, bytes."""

from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, deletion, messages
from assistant.store.database import backup, check
from assistant.store.judgements import curation
from assistant.store.schema import derived
from assistant.store.search import search
from tests.assistant.store.judgements.test_curation import MADE, ask


def bytes_of(file: Path) -> bytes:
    return b"".join(each.read_bytes() for each in file.parent.glob("log.db*"))


def test_deleted_words_leave_the_file_and_its_index(db: Database, file: Path) -> None:
    ask(db, "harmless", "words")
    ask(db, "the zanzibarsecret word", "it was zanzibarsecret")
    curation.note(db, 4, "zanzibarsecret")
    assert b"zanzibarsecret" in bytes_of(file)
    assert deletion.delete_conversations(db, [2, 99]) == 1
    assert b"zanzibarsecret" not in bytes_of(file)
    assert [hit.message_id for hit in search.search(db, "words").hits] == [2]
    assert check(db) == derived.troubles(db) == []


def test_what_was_hidden_leaves_too_in_small_steps(db: Database, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "MERGED_PAGES", 1)
    monkeypatch.setattr(deletion, "AT_START_S", 0.0)
    for number in range(30):
        ask(db, f"zanzibarsecret {number} " + "filler word" * 50, "words")
    for number in range(1, 30):
        conversations.delete(db, number)
    assert deletion.purge_hidden(db, older_than_ms=60_000) == 0
    assert deletion.purge_hidden(db) == 29
    starts = 0
    while not derived.go_on_forgetting(db, within_s=0.0):
        starts += 1
        assert starts < 1000
    ask(db, "another", "one")
    deletion.delete_conversations(db, [30])
    assert b"zanzibarsecret" not in bytes_of(file)


def test_a_message_goes_with_all_that_was_said_after_it(db: Database) -> None:
    user, one, other = ask(db, "q", "a", "b")
    deep = messages.add_user(db, 1, one, "more")
    parent = deep
    for _ in range(1200):  # deeper than SQLite follows by itself
        parent = messages.add_user(db, 1, parent, "m")
    assert deletion.delete_message(db, one) == 1202
    assert [row.id for row in messages.all_of(db, 1)] == [user, other]
    assert conversations.get(db, 1).leaf_id == other
    assert deletion.delete_message(db, user) == 2
    assert conversations.get(db, 1).leaf_id is None
    assert db["templates"].count == 0
    with pytest.raises(StoreError, match="no message"):
        deletion.delete_message(db, user)
    assert check(db) == derived.troubles(db) == []


def test_the_open_path_stays_where_another_branch_is_deleted(db: Database) -> None:
    _, one, other = ask(db, "q", "a", "b")
    deletion.delete_message(db, one)
    assert conversations.get(db, 1).leaf_id == other


def test_conversations_that_ended_before_a_date(db: Database) -> None:
    ask(db, "old", "a")
    ask(db, "new", "b")
    db.conn.execute("UPDATE conversations SET updated_ms = 5 WHERE id = 1")
    assert deletion.ended_before(db, 5) == []
    assert deletion.ended_before(db, 6) == [1]


def test_copies_are_told(db: Database, file: Path) -> None:
    assert deletion.copies(db) == []
    backup(db, file.with_name("log.before-1.db"))
    assert deletion.copies(db) == [file.with_name("log.before-1.db")]


def test_templates_in_use_stay(db: Database) -> None:
    ask(db, "q", "a")
    one = conversations.create(db).id
    messages.begin_reply(db, one, None, MADE)
    deletion.delete_conversations(db, [1])
    assert db["templates"].count == 1
