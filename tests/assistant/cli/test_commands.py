"""Commands that need no engine: what they print, and what they say to wrong words."""

import json
import re
from pathlib import Path

import pytest

from assistant.cli.group import COMMANDS
from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.database import open_database
from tests.assistant.cli.conftest import Cli

ROOT = Path(__file__).parents[3]


def talk(home: Paths) -> int:
    db = open_database(home.database)
    one = conversations.create(db, model="m").id
    conversations.title_from(db, one, "旅行计划")
    messages.add_user(db, one, None, "去哪里？ \x1b[31mred")
    db.close()
    return one


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_is_in_the_documents(cli: Cli, name: str) -> None:
    ran = cli(name, "--help")
    assert ran.code == 0
    assert "Usage: assistant" in ran.out
    document = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert name == "chat" or f"assistant {name}" in document


def test_an_unknown_command_is_refused(cli: Cli) -> None:
    ran = cli("tlak")
    assert ran.code == 2
    assert "No such command 'tlak'" in ran.err


def test_config_tells_places_and_settings(cli: Cli, home: Paths) -> None:
    told = json.loads(cli("config", "--json").out)
    assert told["files"]["log"] == str(home.database)
    assert told["settings"]["engine.keep_alive_s"] == 0.0
    shown = cli("config").out
    assert "engine.keep_alive_s = 0.0\n    Seconds the engine" in shown


def test_a_broken_config_is_one_sentence(cli: Cli, home: Paths) -> None:
    home.config_file.write_text("modle = 'x'", encoding="utf-8")
    ran = cli("config")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "modle" in ran.err


def test_log_list_and_show(cli: Cli, home: Paths) -> None:
    assert "No conversations yet" in cli("log", "list").err
    one = talk(home)
    assert json.loads(cli("log", "list", "--json").out)[0]["title"] == "旅行计划"
    assert re.search(r"1 +20\d\d-\d\d-\d\d \d\d:\d\d +m +旅行计划", cli("log", "list").out)
    shown = cli("log", "show", str(one)).out
    assert "去哪里？ red" in shown
    assert "\x1b" not in shown
    assert "\x1b[31m" in json.loads(cli("log", "show", str(one), "--json").out)["messages"][0]["content"]
    missing = cli("log", "show", "99")
    assert (missing.code, "no conversation 99" in missing.err) == (1, True)


def test_log_export(cli: Cli, home: Paths, tmp_path: Path) -> None:
    talk(home)
    talk(home)
    lines = cli("log", "export").out.splitlines()
    assert [json.loads(line)["title"] for line in lines] == ["旅行计划"] * 2
    file = tmp_path / "out.md"
    assert cli("log", "export", "1", "--format", "markdown", "-o", str(file)).code == 0
    assert file.read_text(encoding="utf-8").startswith("# 旅行计划\n")
    refused = cli("log", "export", "-o", str(tmp_path / "none" / "x"))
    assert (refused.code, "Can't write" in refused.err) == (1, True)


def test_a_damaged_log_is_one_sentence(cli: Cli, home: Paths) -> None:
    home.database.write_bytes(b"no database at all, but long enough to look at" * 100)
    ran = cli("log", "list")
    assert ran.code == 1
    assert "damaged" in ran.err
    assert ran.err.count("\n") == 1


def test_prompts_list_and_show(cli: Cli, home: Paths) -> None:
    (home.templates / "mine.md").write_text("---\ndescription: d\n---\n# system\nhi\n", encoding="utf-8")
    (home.templates / "broken.md").write_text("x", encoding="utf-8")
    listed = cli("prompts", "list", "--json")
    rows = {row["name"]: row for row in json.loads(listed.out)}
    assert rows["mine"]["own"]
    assert rows["translator"]["inputs"]["target"]["default"] == "French"
    assert "not usable" in listed.err
    assert "translator-zh" in cli("prompts", "list").out
    assert cli("prompts", "show", "mine").out == "---\ndescription: d\n---\n# system\nhi\n"
    unknown = cli("prompts", "show", "tutr")
    assert (unknown.code, "Did you mean tutor" in unknown.err) == (1, True)


def test_models_list_add_info_remove(cli: Cli, home: Paths) -> None:
    assert cli("models", "add", "work", "--url", "http://192.0.2.7/v1", "--model", "big").code == 0
    rows = {row["name"]: row for row in json.loads(cli("models", "list", "--json").out)}
    assert rows["work"]["state"] == "server"
    assert rows["smollm2-135m-instruct"]["licence"] == "Apache-2.0"
    assert json.loads(cli("models", "info", "work", "--json").out)["model"] == "big"
    assert "Apache-2.0" in cli("models", "info", "qwen3-0.6b").out
    assert cli("models", "remove", "work").code == 0
    assert not list(home.models.iterdir())
    for words in (["add", "x"], ["info", "nothing-like-it"], ["remove", "none"], ["pull", "none"]):
        ran = cli("models", *words)
        assert (ran.code, ran.err.count("\n")) == (1, 1)


def test_doctor_tells_what_to_do(cli: Cli, home: Paths) -> None:
    (home.templates / "broken.md").write_text("x", encoding="utf-8")
    talk(home)
    ran = cli("doctor", "--json")
    findings = {row["check"]: row for row in json.loads(ran.out)}
    assert ran.code == 1
    assert "assistant models pull" in findings["models"]["advice"]
    assert not findings["template"]["ok"]
    assert findings["python"]["ok"]
    assert findings["torch"]["ok"]
    assert findings["log"]["seen"].startswith("1 conversation,")


def test_ask_without_a_question(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    ran = cli("ask")
    assert (ran.code, "Nothing to ask" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-m", "no-such-model"], "no model 'no-such-model'"),
        (["-v", "wrong"], "not of the form name=value"),
        (["-c"], "no conversation to go on with"),
        (["-t", "no-such"], "no template 'no-such'"),
        (["-v", "target=x", "-t", "plain"], "no input target"),
        (["-o", "temprature=1"], "Unknown sampling setting 'temprature'"),
        (["-o", "temperature=hot"], "temperature is 'hot'"),
    ],
)
def test_ask_refuses_before_it_starts_anything(
    cli: Cli, home: Paths, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    cli("models", "add", "elsewhere", "--url", "http://127.0.0.1:9/v1")
    ran = cli("ask", "hi", "-m", "elsewhere", *words)
    assert ran.code in (1, 2)
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert not (home.run / "engine.json").exists()
