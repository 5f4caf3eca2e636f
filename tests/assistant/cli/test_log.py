"""`assistant log`: searching, judging and keeping the log from a shell."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.cli.log import command
from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.database import open_database
from assistant.store.messages import Outcome, Provenance
from assistant.store.search.filter import Filter
from tests.assistant.cli.conftest import Cli

ROOT = Path(__file__).parents[3]


@pytest.fixture
def talks(home: Paths) -> None:
    """Messages 1 to 5: a question with two replies, and another with one."""
    db = open_database(home.database)
    _talk(db, "Why do whales sing?", ["To be heard.", "\x1b[31mNobody knows."], surprise=2.0)
    _talk(db, "鲸鱼吃什么？", ["鲸鱼吃磷虾。"], surprise=0.5)
    db.close()


def _talk(db: Database, question: str, replies: list[str], surprise: float) -> None:
    one = conversations.create(db, model="m").id
    conversations.title_from(db, one, question)
    user = messages.add_user(db, one, None, question)
    for text in replies:
        reply = messages.begin_reply(db, one, user, Provenance("m", "plain", "hash", "text", {}, 1))
        messages.end_reply(db, reply, text, "complete", Outcome(completion_tokens=3, logprobs=[-surprise]))


def told(cli: Cli, *words: str) -> Any:
    ran = cli("log", *words, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


@pytest.mark.parametrize("name", sorted(command.commands))
def test_every_command_has_help_and_is_in_the_documents(cli: Cli, name: str) -> None:
    assert cli("log", name, "--help").out.count("\n") > 4
    assert f"assistant log {name}" in (ROOT / "docs/commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["search", "list", "next"])
def test_every_filter_is_an_option(name: str) -> None:
    names = {parameter.name for parameter in command.commands[name].params}
    assert {f"filter_{field.name}" for field in fields(Filter)} <= names


@pytest.mark.usefixtures("talks")
def test_search(cli: Cli) -> None:
    found = told(cli, "search", "鲸鱼")
    assert [hit["message_id"] for hit in found["hits"]] == [5]
    assert found["hits"][0]["snippet"][0] == ["鲸鱼", True]
    ran = cli("log", "search", "whales")
    assert "Why do whales sing?" in ran.out
    assert "1 of 1" in ran.err
    assert "\x1b" not in cli("log", "search", "nobody").out
    assert told(cli, "search", "whales", "--rating", "good") == {"count": 0, "next_before": None, "hits": []}
    assert told(cli, "search", 'NEAR( "')["hits"] == []


@pytest.mark.usefixtures("talks")
def test_search_without_words_lists_what_passes(cli: Cli) -> None:
    assert [row["message_id"] for row in told(cli, "search", "--sort", "surprise")["exchanges"]] == [3, 2, 5]
    assert told(cli, "search", "--max-surprise", "1")["count"] == 1
    assert told(cli, "search", "--since", "1d", "--limit", "1", "--offset", "1")["exchanges"][0]["message_id"] == 3
    assert told(cli, "search", "--until", "2020-01-01")["exchanges"] == []
    assert "Why do whales" in cli("log", "search", "--conversation", "1").out
    refused = cli("log", "search", "--since", "yesterday")
    assert refused.code == 2
    assert "no date" in refused.err


@pytest.mark.usefixtures("talks")
def test_list_takes_filters(cli: Cli) -> None:
    cli("log", "rate", "2", "good")
    assert [row["id"] for row in told(cli, "list", "--rating", "good")] == [1]
    assert "No such conversation" in cli("log", "list", "--rating", "bad").err


@pytest.mark.usefixtures("talks")
def test_judging_and_undo(cli: Cli) -> None:
    assert told(cli, "rate", "2", "good")["rating"] == 1
    assert told(cli, "decide", "2", "keep")["decision"] == "keep"
    assert told(cli, "tag", "2", "#sea", "song")["tags"] == ["sea", "song"]
    assert told(cli, "tag", "2", "song", "--remove")["tags"] == ["sea"]
    assert told(cli, "tag") == {"sea": 1}
    assert "sea" in cli("log", "tag").out
    assert told(cli, "note", "2", "nice")["note"] == "nice"
    assert told(cli, "prefer", "2", "3")["chosen_id"] == 2
    assert told(cli, "correct", "3", "Males sing to be heard.") == {"message_id": 6, "corrects_id": 3}
    assert "good, keep, #sea" in cli("log", "rate", "2", "good").out
    assert "correction of message 3" in told(cli, "undo")["done"]
    assert "correction of message 3" in cli("log", "undo", "--redo").out
    for _ in range(8):
        assert told(cli, "undo")["done"]
    assert cli("log", "undo").out == "Nothing to undo.\n"
    refused = cli("log", "rate", "1", "good")
    assert (refused.code, refused.err) == (1, "assistant: Message 1 is not a reply.\n")


@pytest.mark.usefixtures("talks")
def test_next_tells_what_to_judge_and_how_far_one_is(cli: Cli) -> None:
    up = told(cli, "next")
    assert (up["done"], up["total"], [row["message_id"] for row in up["exchanges"]]) == (0, 3, [2, 3])
    cli("log", "rate", "2", "good")
    cli("log", "decide", "3", "skip")
    shown = cli("log", "next")
    assert "鲸鱼吃磷虾" in shown.out
    assert "2 of 3 judged" in shown.err


@pytest.mark.usefixtures("talks")
def test_backup_and_restore(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "kept.db"
    assert told(cli, "backup", str(file))["file"] == str(file)
    assert "exists already" in cli("log", "backup", str(file)).err
    told(cli, "delete", "1", "--yes")
    restored = told(cli, "restore", str(file), "--yes")
    assert [row["id"] for row in told(cli, "list")] == [2, 1]
    assert [hit["message_id"] for hit in told(cli, "search", "whales")["hits"]] == [1]
    assert told(cli, "check") == {"sound": True, "troubles": []}
    cli("log", "restore", restored["kept"], "--yes")
    assert [row["id"] for row in told(cli, "list")] == [2]
    beside = Path(cli("log", "backup").out.split("  ")[0])
    assert beside.name.startswith("log.backup-")


@pytest.mark.usefixtures("talks")
def test_a_damaged_backup_changes_nothing(cli: Cli, home: Paths, tmp_path: Path) -> None:
    file = tmp_path / "damaged.db"
    file.write_bytes(b"no database" * 1000)
    assert "damaged" in cli("log", "restore", str(file), "--yes").err
    assert "no backup" in cli("log", "restore", str(tmp_path / "none.db"), "--yes").err
    Database(tmp_path / "other.db")["t"].insert({"x": 1})
    assert "no log of this program" in cli("log", "restore", str(tmp_path / "other.db"), "--yes").err
    assert len(told(cli, "list")) == 2
    assert [one.name for one in home.database.parent.glob("log.*") if one != home.database] == []


@pytest.mark.usefixtures("talks")
def test_restore_and_delete_ask_first(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.confirm", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cli("log", "delete", "1").code == 130
    assert cli("log", "restore", str(tmp_path / "x.db")).code == 130
    assert len(told(cli, "list")) == 2


@pytest.mark.usefixtures("talks")
def test_delete(cli: Cli) -> None:
    assert told(cli, "delete", "--message", "2", "--yes") == {
        "messages": 1,
        "learned": {"examples": 0, "datasets": [], "runs": [], "adapters": []},
        "copies": [],
    }
    copy = told(cli, "backup")["file"]
    ran = cli("log", "delete", "--before", "2030-01-01", "--yes")
    assert ran.out == "2 conversations deleted\n"
    assert copy in ran.err
    assert told(cli, "list") == []
    assert "no conversation 7" in cli("log", "delete", "7", "--yes").err
    assert "no message 1" in cli("log", "delete", "--message", "1", "--yes").err
    assert cli("log", "delete", "--yes").code == 2


@pytest.mark.usefixtures("talks")
def test_check_and_repair(cli: Cli, home: Paths) -> None:
    db = open_database(home.database)
    db.conn.execute("UPDATE exchanges SET rating = 1")
    db.close()
    ran = cli("log", "check")
    assert ran.code == 1
    assert "not as the log tells it" in ran.out
    assert cli("log", "check", "--repair").out == "The log is sound.\n"


@pytest.mark.usefixtures("talks")
def test_vacuum_and_stats(cli: Cli) -> None:
    cli("log", "rate", "2", "good")
    assert told(cli, "vacuum")["bytes_after"] > 0
    assert "after" in cli("log", "vacuum").out
    found = told(cli, "stats")
    assert (found["conversations"], found["messages"], found["replies"], found["good"]) == (2, 5, 3, 1)
    assert found["models"] == {"m": 3}
    assert "2 conversations, 5 messages, 3 of them replies" in cli("log", "stats").out
