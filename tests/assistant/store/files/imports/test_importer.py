"""All or nothing, without doubles, told beforehand."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.errors import DatabaseUnwritable, ImportRefused
from assistant.store import conversations, messages
from assistant.store.database import check, open_database, open_memory
from assistant.store.files.exports.exporter import export
from assistant.store.files.imports import importer, importing
from assistant.store.files.imports.importer import Progress, import_file
from assistant.store.judgements import curation
from assistant.store.schema import derived
from assistant.store.search import search
from tests.assistant.store.files import samples
from tests.assistant.store.files.conftest import Take


def rows(count: int, length: int = 40) -> list[dict[str, Any]]:
    """So many different conversations of two messages."""
    return [
        {"conversations": [{"from": "human", "value": f"{n} " + "x" * length}, {"from": "gpt", "value": "y" * length}]}
        for n in range(count)
    ]


def test_a_dry_run_tells_the_same_and_changes_nothing(memory: Database, take: Take) -> None:
    file = [*rows(3), rows(1)[0], {"conversations": "x"}, {"conversations": []}]
    before = [list(memory[name].rows) for name in ("conversations", "messages", "templates")]
    told = take(file, dry_run=True)
    assert [list(memory[name].rows) for name in ("conversations", "messages", "templates")] == before
    done = take(file)
    assert (told.dry_run, done.dry_run) == (True, False)
    told.dry_run = False
    assert told == done
    assert (done.conversations, done.messages, done.doubles, done.left_out) == (3, 6, 1, 2)
    assert done.named_doubles == ["item 4"]
    assert [(one.name, one.reason) for one in done.named_left_out] == [
        ("item 5", "'conversations' is text, not a list"),
        ("item 6", "nothing was said in it"),
    ]


@pytest.mark.parametrize("name", samples.JSON_FILES)
def test_importing_again_adds_nothing(take: Take, name: str) -> None:
    first, second = take(samples.JSON_FILES[name]), take(samples.JSON_FILES[name])
    assert first.conversations
    assert (second.conversations, second.doubles) == (0, first.conversations)


@pytest.mark.parametrize("format_", ["json", "openai", "sharegpt", "markdown"])
def test_what_was_said_here_is_known_when_it_comes_back(memory: Database, take: Take, format_: str) -> None:
    one = conversations.create(memory).id
    question = messages.add_user(memory, one, None, "Why?")
    for text in ("Because.", "So."):
        reply = messages.begin_reply(memory, one, question, samples.MADE)
        messages.end_reply(memory, reply, text, "complete", messages.Outcome())
    report = take("".join(export(memory, [one], format_)))
    assert (report.conversations, report.doubles) == (0, 1)


def test_an_imported_conversation_that_went_on_is_known_too(memory: Database, take: Take) -> None:
    take(samples.CLAUDE)
    messages.add_user(memory, 1, 3, "And tomorrow?")
    assert take(samples.CLAUDE).doubles == 1
    assert take("".join(export(memory, [1], "json"))).doubles == 1


def test_an_empty_conversation_of_ours_comes_in_once(take: Take) -> None:
    empty = samples.own()[1]
    assert (take([empty, empty]).conversations, take([empty]).doubles) == (1, 1)
    with pytest.raises(ImportRefused, match="nothing was said in it"):  # nothing to know it by
        take([{**empty, "created_ms": None}])


def test_what_was_deleted_can_be_imported_again(memory: Database, take: Take) -> None:
    take(rows(1))
    conversations.delete(memory, 1)
    assert take(rows(1)).conversations == 1
    conversations.restore(memory, 1)
    assert check(memory) == []


def test_progress_is_told(take: Take) -> None:
    seen: list[Progress] = []
    take(rows(200, 4000), progress=seen.append)
    assert [one.conversations for one in seen] == [50, 100, 150, 200, 200]
    assert [one.share for one in seen] == sorted(one.share for one in seen)
    assert seen[-1].share == 1.0


@pytest.mark.parametrize("dry_run", [False, True])
def test_stopping_leaves_nothing(memory: Database, take: Take, dry_run: bool) -> None:
    def stop(progress: Progress) -> None:
        if progress.conversations >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(rows(5000), dry_run=dry_run, progress=stop)
    assert memory["conversations"].count == 0
    assert take(rows(5)).conversations == 5


def test_a_file_that_breaks_off_takes_nothing_in(memory: Database, take: Take) -> None:
    with pytest.raises(ImportRefused, match="whole conversations before it: 2,999"):
        take(json.dumps(rows(3000))[:-5])
    assert memory["conversations"].count == 0
    assert memory["messages"].count == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -62_135_596_800, 10**13, 10**400, "0000-00-00", "x", []])
def test_any_date_is_taken(memory: Database, take: Take, value: Any) -> None:
    conversation = {**samples.CHATGPT[0], "create_time": value, "update_time": value}
    assert take([conversation]).conversations == 1
    created = conversations.get(memory, 1).created_ms
    assert 0 < created < 253_402_300_800_000


def test_a_field_missing_costs_one_conversation(take: Take) -> None:
    broken = {**samples.CLAUDE[0], "chat_messages": [{"text": "no sender"}]}
    report = take([broken, *samples.CLAUDE])
    assert (report.conversations, report.left_out) == (1, 1)
    assert report.named_left_out[0].name == "item 1, 'Tides'"
    assert report.named_left_out[0].reason == "it has no 'sender'"


@pytest.mark.parametrize("depth", [100, 900, 940, 970, 2000])
@pytest.mark.parametrize("name", samples.JSON_FILES)
def test_nesting_anywhere_is_no_trouble(take: Take, name: str, depth: int) -> None:
    text = json.dumps(samples.JSON_FILES[name])
    deep = "[" * depth + "]" * depth
    for at in [at for at, letter in enumerate(text) if letter == ":"][:: 3 if depth == 100 else 5]:
        end = re.compile(r'\s*("[^"]*"|[\w.]+|(?=[{\[]))').match(text, at + 1)
        if end is not None and end.group().strip():
            with contextlib.suppress(ImportRefused):
                take(text[: at + 1] + deep + text[end.end() :], dry_run=True)
    assert take(text).conversations


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(json.dumps(rows(3000, 1000)))
    with closing(open_database(tmp_path / "log.db")) as db:
        pages = db.conn.execute("PRAGMA page_count").fetchone()[0]
        db.conn.execute(f"PRAGMA max_page_count = {pages + 200}")
        with pytest.raises(DatabaseUnwritable, match="full"):
            import_file(db, file)
        assert db["messages"].count == 0
        assert check(db) == []
        db.conn.execute("PRAGMA max_page_count = 1000000")
        assert import_file(db, file).messages == 6000


IMPORTER = """
import sys
from pathlib import Path
from assistant.store.database import open_database
from assistant.store.files.imports.importer import import_file
db = open_database(Path(sys.argv[1]))
def tell(progress):
    print(progress.conversations, flush=True)
print(import_file(db, Path(sys.argv[2]), progress=tell).conversations, "done")
"""


@pytest.mark.slow
def test_a_kill_half_way_leaves_nothing_half_done(tmp_path: Path) -> None:
    log, file = tmp_path / "log.db", tmp_path / "file.json"
    file.write_text(json.dumps(rows(8_000, 400)))
    with closing(open_database(log)) as db:
        kept = conversations.create(db).id
        messages.add_user(db, kept, None, "here before")
    for wanted in (b"500\n", b"6000\n"):
        with subprocess.Popen(
            [sys.executable, "-c", IMPORTER, str(log), str(file)], stdout=subprocess.PIPE
        ) as importer:
            assert importer.stdout is not None
            while (line := importer.stdout.readline()) != wanted:
                assert line
            os.kill(importer.pid, signal.SIGKILL)
        assert importer.returncode == -signal.SIGKILL
        with closing(open_database(log)) as db:
            assert db["conversations"].count > 1
            importing.take_out_left(db)
            assert (db["conversations"].count, db["messages"].count) == (1, 1)
            assert (db["importing"].count, db["exchanges"].count, search.count(db, "x OR y*")) == (0, 0, 0)
            assert check(db) == derived.troubles(db) == []
    with closing(open_database(log)) as db:
        assert import_file(db, file).conversations == 8_000


def test_others_write_during_an_import_and_keep_what_they_went_on_with(memory: Database, take: Take) -> None:
    def write(progress: Progress) -> None:
        if progress.conversations == 1500:
            leaf = conversations.get(memory, 7).leaf_id
            messages.add_user(memory, 7, leaf, "And then?")
        if progress.conversations == 2900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(rows(3000), progress=write)
    assert [row["id"] for row in memory["conversations"].rows] == [7]
    assert [row["content"][:3] for row in memory["messages"].rows] == ["6 x", "yyy", "And"]
    assert check(memory) == derived.troubles(memory) == []


def test_an_import_that_runs_is_not_taken_out(tmp_path: Path) -> None:
    log, file = tmp_path / "log.db", tmp_path / "file.json"
    file.write_text(json.dumps(rows(2000)))
    with closing(open_database(log)) as db, closing(open_database(log)) as other:

        def look(_: Progress) -> None:
            importing.take_out_left(other)

        assert import_file(db, file, progress=look).conversations == 2000
        assert db["conversations"].count == 2000
        assert list(db["importing"].rows) == []


def test_another_program_writes_before_and_after(tmp_path: Path) -> None:
    log, file = tmp_path / "log.db", tmp_path / "file.json"
    file.write_text(json.dumps(rows(3000)))
    with closing(open_database(log)) as db:
        one = conversations.create(db).id
        importers = [
            subprocess.Popen([sys.executable, "-c", IMPORTER, str(log), str(file)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        written = 0
        while any(importer.poll() is None for importer in importers):
            messages.add_user(db, one, None, f"meanwhile {written}")
            written += 1
            time.sleep(0.02)
        ends = sorted(importer.communicate()[0].split(b"\n")[-2] for importer in importers)
        assert ends == [b"0 done", b"3000 done"]
        assert db["conversations"].count == 3001
        assert db["messages"].count == 6000 + written
        assert check(db) == []


def chatgpt(count: int, branch_at: int | None = None) -> dict[str, Any]:
    """A conversation of so many messages, as ChatGPT exports it; with another reply in place of one."""
    mapping: dict[str, Any] = {}
    for number in range(count):
        mapping[f"m{number}"] = node(f"m{number}", number, f"m{number - 1}" if number else None)
    if branch_at is not None:
        mapping["other"] = node("other", branch_at, f"m{branch_at - 1}")
    return {"title": "T", "conversation_id": "c1", "mapping": mapping, "current_node": list(mapping)[-1]}


def node(key: str, number: int, parent: str | None) -> dict[str, Any]:
    author = {"role": ("user", "assistant")[number % 2]}
    content = {"content_type": "text", "parts": [f"said {key}"]}
    return {"parent": parent, "message": {"author": author, "content": content, "create_time": 1.7e9 + number}}


def test_a_conversation_that_has_grown_elsewhere_goes_on(memory: Database, take: Take) -> None:
    take([chatgpt(2)])
    told = take([chatgpt(6, branch_at=3)], dry_run=True)
    done = take([chatgpt(6, branch_at=3)])
    assert (told.conversations, told.went_on, told.messages) == (done.conversations, done.went_on, done.messages)
    assert (done.conversations, done.went_on, done.messages) == (0, 1, 5)
    assert memory["conversations"].count == 1
    leaf = conversations.get(memory, 1).leaf_id
    assert leaf is not None
    assert [one.content for one in messages.path(memory, leaf)] == ["said m0", "said m1", "said m2", "said other"]
    assert [take([chatgpt(6, branch_at=3)]).doubles, take([chatgpt(2)]).doubles, take([chatgpt(4)]).doubles] == [
        1,
        1,
        1,
    ]
    assert check(memory) == derived.troubles(memory) == []


def test_what_was_said_here_stays_open_when_it_grows_elsewhere(memory: Database, take: Take) -> None:
    take([chatgpt(2)])
    mine = messages.add_user(memory, 1, 2, "mine")
    assert take([chatgpt(4)]).went_on == 1
    assert conversations.get(memory, 1).leaf_id == mine
    assert memory["messages"].count == 5


def test_growth_is_taken_out_again_where_the_import_fails(
    memory: Database, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    take([chatgpt(2)])
    monkeypatch.setattr(importer, "PART_MESSAGES", 1)
    with pytest.raises(ImportRefused):
        take(json.dumps([chatgpt(6, branch_at=3), *([chatgpt(2000) | {"conversation_id": "c2"}])])[:-5])
    assert [row["content"] for row in memory["messages"].rows] == ["said m0", "said m1"]
    assert conversations.get(memory, 1).leaf_id == 2
    assert check(memory) == derived.troubles(memory) == []


def test_what_another_programs_model_said_was_not_generated_here(memory: Database, take: Take) -> None:
    take(samples.CHATGPT)
    replies = [row["message_id"] for row in memory.query("SELECT message_id FROM replies")]
    assert replies
    assert not any(messages.was_generated(memory, one) for one in replies)


def test_a_vote_between_two_conversations_comes_back(memory: Database, tmp_path: Path) -> None:
    for text in ("better", "worse"):
        one = conversations.create(memory).id
        question = messages.add_user(memory, one, None, "Why?")
        reply = messages.begin_reply(memory, one, question, samples.MADE)
        messages.end_reply(memory, reply, text, "complete", messages.Outcome())
    curation.prefer(memory, 2, 4, blind=True)
    lines = "".join(export(memory, [1, 2], "json"))
    with closing(open_memory()) as other:
        file = tmp_path / "all.jsonl"
        file.write_text(lines)
        import_file(other, file)
        votes = (
            "SELECT c.content, r.content, blind FROM preferences JOIN messages c ON c.id = chosen_id "
            "JOIN messages r ON r.id = rejected_id"
        )
        assert other.execute(votes).fetchall() == [("better", "worse", 1)]
        assert other["importing"].count == 0
