"""Redaction of exports and of the log itself: placeholders that stay, and no byte of the values left."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.redaction import KINDS
from assistant.store import conversations, messages
from assistant.store.database import backup, check, execute, select
from assistant.store.files.exports import exporter
from assistant.store.files.imports.importer import import_file
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from assistant.store.redaction.apply import apply
from assistant.store.redaction.redactor import Redactor, decide
from assistant.store.redaction.review import everything, review
from assistant.store.schema import derived
from assistant.store.search import exchanges, search
from assistant.store.search.filter import Filter

MAIL, PHONE, NAME, CARD = "anna.schmidt@mail.example.org", "13800138000", "王小明", "4111111111111111"
VALUES = (MAIL, PHONE, NAME, CARD)


def talk(
    db: Database, said: str, reply: str, *, title: str = "A title", template: str = "# system\n\nBe brief."
) -> int:
    """The id of the reply in a new conversation."""
    one = conversations.create(db, model="m", inputs={"who": said}, sampling={"stop": [said]}).id
    conversations.rename(db, one, title)
    conversations.set_draft(db, one, said)
    user = messages.add_user(db, one, None, said)
    made = Provenance("m", "plain", str(hash(template)), template, {"stop": [said]}, 1, inputs={"who": said})
    message_id = messages.begin_reply(db, one, user, made)
    outcome = Outcome(token_ids=[1, 2], logprobs=[-0.5, -1.5], token_lengths=[1, len(reply) - 1], completion_tokens=2)
    messages.end_reply(db, message_id, reply, "complete", outcome, error=f"it said {said}")
    return message_id


@pytest.fixture
def full(db: Database) -> Database:
    """A log with the values in every place that holds text."""
    reply = talk(db, f"Write to {MAIL} or {PHONE}", f"我叫{NAME}，卡号{CARD}", title=f"Mail to {MAIL}")
    curation.note(db, reply, f"she is {MAIL}")
    curation.note(db, reply, f"call {PHONE}")
    curation.tag(db, reply, f"for {MAIL}"[:60])
    curation.correct(db, reply, f"Ask {MAIL.upper()}")
    other = talk(db, "harmless words", "none of it", template=f"# system\n\nYou write to {MAIL}.")
    curation.correct(db, other, f"undone, of {MAIL}")
    curation.undo(db)  # its text waits in the journal
    hidden = talk(db, f"hidden {PHONE}", "reply")
    conversations.delete(db, messages.get(db, hidden).conversation_id)
    conversations.set_draft(db, None, f"not sent yet: {MAIL}")
    return db


def bytes_of(file: Path) -> bytes:
    return b"".join(each.read_bytes() for each in file.parent.glob("log.db*"))


def forms(value: str) -> list[bytes]:
    """As UTF-8, and as JSON escapes it; a mail address also as the index has its rarest word."""
    index = [b"anna" + b"schmidt", b"schmidt"] if value == MAIL else []
    return [value.encode(), json.dumps(value)[1:-1].encode(), value.upper().encode(), *index]


def test_no_byte_is_left_in_the_log(full: Database, file: Path) -> None:
    assert all(value.encode() in bytes_of(file) for value in VALUES)
    redactor = Redactor(full, words=[NAME])
    done = apply(full, everything(full), redactor, whole=True)
    assert done.erased and done.conversations == 3 and done.values == 4 and done.copies == []
    left = bytes_of(file)
    for value in VALUES:
        assert not [form for form in forms(value) if form in left]
    assert check(full) == derived.troubles(full) == []
    assert search.count(full, "schmidt") == search.count(full, "小明") == 0
    assert search.count(full, "harmless") == 1
    assert review(full, everything(full), Redactor(full, words=[NAME])) == []
    reply = messages.reply_info(full, 2)
    assert (reply.outcome.token_ids, reply.outcome.logprobs, reply.outcome.token_lengths) == ([], [], [])
    assert messages.reply_info(full, 5).outcome.token_ids == [1, 2]
    assert conversations.get(full, 1).title == "Mail to [EMAIL_1]"
    assert messages.get(full, 2).content == "我叫[WORD_1]，卡号[CARD_1]"
    assert curation.tags_of(full, 2) == ["for [EMAIL_1]"]
    assert [row.tags for row in exchanges.page(full, Filter(tags=("for [EMAIL_1]",)))] == [("for [EMAIL_1]",)]
    assert curation.redo(full) and messages.get(full, messages.siblings(full, 5)[-1]).content == "undone, of [EMAIL_1]"
    assert conversations.get_draft(full, None) == "not sent yet: [EMAIL_1]"
    assert dict(select(full, "SELECT id, redacted FROM messages")) == {1: 1, 2: 1, 3: 1, 4: 0, 5: 0, 6: 0, 7: 1, 8: 1}


def test_backups_are_named_and_not_touched(full: Database, file: Path) -> None:
    copy = file.with_name("log.backup-1.db")
    backup(full, copy)
    assert apply(full, everything(full), Redactor(full), whole=True).copies == [copy]
    assert MAIL.encode() in copy.read_bytes()


def test_a_number_is_not_given_again(full: Database) -> None:
    apply(full, everything(full), Redactor(full), whole=True)
    assert select(full, "SELECT count(*) FROM placeholders WHERE fingerprint IS NOT NULL") == [(0,)]
    assert Redactor(full)("Then b@example.org wrote") == "Then [EMAIL_2] wrote"


def test_a_part_of_the_log(full: Database) -> None:
    done = apply(full, [1], Redactor(full, kinds=["phone"]), whole=False)
    assert done.conversations == 1
    assert messages.get(full, 1).content == f"Write to {MAIL} or [PHONE_1]"
    assert messages.get(full, 7).content == f"hidden {PHONE}"
    assert Redactor(full)(PHONE) == "[PHONE_1]"


def test_a_growing_reply_and_trouble_leave_all_as_it_was(full: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(full.query("SELECT * FROM messages"))
    monkeypatch.setattr("assistant.store.redaction.apply._elsewhere", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        apply(full, everything(full), Redactor(full), whole=True)
    assert list(full.query("SELECT * FROM messages")) == before
    execute(full, "UPDATE messages SET state = 'growing' WHERE id = 5")
    with pytest.raises(StoreError, match="still being written"):
        apply(full, everything(full), Redactor(full), whole=True)


def test_who_reads_meanwhile_is_told_of(full: Database, file: Path) -> None:
    full.conn.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(file)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        assert not apply(full, everything(full), Redactor(full), whole=True).erased
    assert apply(full, everything(full), Redactor(full), whole=True).places == 0


@pytest.mark.parametrize("format_", exporter.FORMATS)
def test_exports_hold_placeholders(full: Database, format_: str) -> None:
    curation.rate(full, 5, 1)
    ids = [1, 2]
    plain = "".join(exporter.export(full, ids, format_))
    clean = "".join(exporter.export(full, ids, format_, redactor=Redactor(full, words=[NAME])))
    assert MAIL in plain
    assert "[EMAIL_1]" in clean
    for value in VALUES:
        assert value not in clean and json.dumps(value)[1:-1] not in clean
    assert "".join(exporter.export(full, ids, format_)) == plain  # the log is as it was


def test_placeholders_are_the_same_in_every_export(full: Database) -> None:
    first = "".join(exporter.export(full, [1], "openai", redactor=Redactor(full, words=[NAME])))
    conversations.rename(full, 2, "first@example.org")
    again = "".join(exporter.export(full, [2, 1], "openai", redactor=Redactor(full, words=[NAME])))
    assert first in again
    assert Redactor(full)(f"{MAIL} {MAIL.upper()} first@example.org") == "[EMAIL_1] [EMAIL_1] [EMAIL_2]"


def test_a_redacted_export_comes_back_in(full: Database, tmp_path: Path) -> None:
    file = tmp_path / "clean.jsonl"
    file.write_text(
        "".join(exporter.export(full, [1], "json", redactor=Redactor(full, words=[NAME]))), encoding="utf-8"
    )
    report = import_file(full, file)
    assert (report.conversations, report.left_out) == (1, 0)
    assert search.count(full, "WORD_1") == 1


def test_what_is_not_personal_is_left(full: Database) -> None:
    assert decide(full, [MAIL, "a plain word"], personal=False) == 1
    found = review(full, everything(full), Redactor(full))
    assert {(one.kind, one.value) for one in found} == {("card", CARD), ("name", NAME), ("phone", PHONE)}
    assert MAIL in Redactor(full)(f"to {MAIL.upper()} {MAIL}")
    decide(full, [MAIL], personal=True)
    assert "email" in {one.kind for one in review(full, everything(full), Redactor(full))}


def test_review_tells_where(full: Database) -> None:
    found = review(full, [1], Redactor(full, kinds=["phone"]))
    (one,) = found
    assert (one.value, one.count) == (PHONE, 5)
    assert [place.where for place in one.places] == ["user", "error", "note", "inputs", "draft"]
    assert (one.places[0].message_id, one.places[0].before) == (1, "anna.schmidt@mail.example.org or "[-30:])
    assert [
        one.value for one in review(full, everything(full), Redactor(full, kinds=["email"]), Filter(tags=("x",)))
    ] == []


def test_kinds_of_the_command_are_those_that_are_found() -> None:
    from assistant.cli.log_redact import KINDS as OFFERED

    assert OFFERED == KINDS
