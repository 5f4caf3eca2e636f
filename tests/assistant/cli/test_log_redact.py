"""`assistant log redact` and `export --redact`."""

import json
from pathlib import Path

import pytest

from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.database import open_database
from tests.assistant.cli.conftest import Cli

MAIL = "anna@mail.example.org"


@pytest.fixture(autouse=True)
def talk(home: Paths) -> None:
    db = open_database(home.database)
    one = conversations.create(db, model="m").id
    messages.add_user(db, one, None, f"I am Anna Schmidt, {MAIL}, 13800138000")
    db.close()


def test_what_is_found_is_listed(cli: Cli) -> None:
    shown = cli("log", "redact")
    assert [line.split()[:3] for line in shown.out.splitlines()[::2]] == [
        ["email", "1", MAIL],
        ["phone", "1", "13800138000"],
    ]
    assert f"conversation 1, message 1, user: I am Anna Schmidt, [{MAIL}], 13800138000" in shown.out
    assert shown.err == "2 values, 2 places\n"
    found = json.loads(cli("log", "redact", "1", "--kind", "word", "--word", "anna schmidt", "--json").out)
    assert [(one["kind"], one["value"]) for one in found] == [("word", "Anna Schmidt")]
    assert "no conversation 9" in cli("log", "redact", "9").err


def test_export_has_placeholders_and_words_of_the_settings(cli: Cli, home: Paths, tmp_path: Path) -> None:
    home.config_file.write_text('redact_words = ["Anna Schmidt"]\n', encoding="utf-8")
    out = tmp_path / "out.jsonl"
    summary = json.loads(cli("log", "export", "--format", "openai", "--redact", "-o", str(out), "--json").out)
    assert (summary["redacted_values"], summary["redacted_places"]) == (3, 3)
    (said,) = json.loads(out.read_text(encoding="utf-8"))["messages"]
    assert said["content"] == "I am [WORD_1], [EMAIL_1], [PHONE_1]"
    assert MAIL in cli("log", "export", "--format", "openai").out
    assert cli("log", "export", "--word", "x").code == 2


def test_what_is_not_personal_stays(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("log", "redact", "--not-personal", MAIL).out == f"{MAIL} is left as it is from now on.\n"
    assert "email" not in cli("log", "redact").out
    assert "not each of them" in cli("log", "redact", "--not-personal", "tea").err
    cli("log", "redact", "--personal", MAIL)
    answers = iter(["n", "q"])
    monkeypatch.setattr("click.prompt", lambda *_, **__: next(answers))
    assert "1 of 2: email" in cli("log", "redact", "--review").out
    assert [line.split()[0] for line in cli("log", "redact").out.splitlines()[::2]] == ["phone"]


def test_apply_asks_and_names_copies(cli: Cli, home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = json.loads(cli("log", "backup", "--json").out)["file"]
    monkeypatch.setattr("click.confirm", lambda *_, **__: exec("import click; raise click.Abort"))
    assert cli("log", "redact", "--apply").code == 130
    assert MAIL in cli("log", "show", "1").out
    done = cli("log", "redact", "--apply", "--yes")
    assert done.code == 0 and "2 values replaced in 2 places of 1 conversation." in done.out
    assert copy in done.err
    assert "I am Anna Schmidt, [EMAIL_1], [PHONE_1]" in cli("log", "show", "1").out
    assert MAIL.encode() not in b"".join(each.read_bytes() for each in home.data.glob("log.db*"))
    again = json.loads(cli("log", "redact", "--apply", "--yes", "--json").out)
    assert (again["values"], again["erased"]) == (0, True)
