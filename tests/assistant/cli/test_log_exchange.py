"""`assistant log import` and `assistant log export`, as a person types them."""

import json
from pathlib import Path

import pytest

from assistant.cli import log_exchange
from assistant.paths import Paths
from assistant.store.database import open_database
from assistant.store.files.exports import exporter
from assistant.store.judgements import curation
from tests.assistant.cli.conftest import Cli
from tests.assistant.store.files import samples


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([*samples.CHATGPT, {"title": "Broken\n", "mapping": 1}]), encoding="utf-8")
    return file


def test_import_tells_what_it_would_do_and_what_it_did(cli: Cli, file: Path) -> None:
    told = cli("log", "import", str(file), "--dry-run")
    assert told.code == 0
    assert told.out.startswith("Would import 1 conversation with 5 messages from ")
    assert "Left out: 1 image attachment, 1 tool call message, 1 tool message\n" in told.out
    assert told.err == "Left out item 2, 'Broken': 'mapping' is a number, not an object.\n"
    assert json.loads(cli("log", "list", "--json").out) == []
    done = cli("log", "import", str(file))
    assert done.out.startswith("Imported 1 conversation with 5 messages")
    again = cli("log", "import", str(file))
    assert "In the log already, 1: Lighthouses 灯塔" in again.out


def test_import_as_json(cli: Cli, file: Path) -> None:
    report = json.loads(cli("log", "import", str(file), "--json").out)
    assert (report["format"], report["conversations"], report["messages"]) == ("chatgpt", 1, 5)
    assert report["named_left_out"] == [{"name": "item 2, 'Broken'", "reason": "'mapping' is a number, not an object"}]


def test_what_is_no_export_is_one_sentence(cli: Cli, tmp_path: Path) -> None:
    wrong = tmp_path / "x"
    wrong.write_text("hello")
    for words in (str(wrong), str(tmp_path / "none"), str(tmp_path)):
        ran = cli("log", "import", words)
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert ran.err.startswith("assistant: ")


def test_export_formats_are_those_of_the_store() -> None:
    assert sorted(log_exchange.FORMATS) == sorted(exporter.FORMATS)


@pytest.mark.parametrize("format_", log_exchange.FORMATS)
def test_every_format_goes_out(cli: Cli, file: Path, tmp_path: Path, format_: str) -> None:
    cli("log", "import", str(file))
    output = tmp_path / "out"
    assert cli("log", "export", "--format", format_, "-o", str(output)).code == 0
    assert output.stat().st_mode & 0o077 == 0
    assert cli("log", "export", "--format", format_).code == 0


def test_filters_are_options(cli: Cli, home: Paths, file: Path) -> None:
    cli("log", "import", str(file))
    db = open_database(home.database)
    curation.rate(db, 3, 1)
    curation.tag(db, 2, "sea")
    db.close()

    def ends(*words: str) -> list[str]:
        rows = cli("log", "export", "--format", "openai", *words).out.splitlines()
        return [json.loads(row)["messages"][-1]["content"].split("\n")[-1] for row in rows]

    assert ends() == ["That is a lamp."]
    assert ends("--rating", "good") == ["For ships."]
    assert ends("--tag", "sea", "--model", "o3") == ["To warn ships."]
    assert ends("--until", "2020-01-01") == []
    assert ends("--since", "2023-11-01", "--min-length", "12", "--not-judged") == ["To warn ships.", "That is a lamp."]


def test_an_output_that_cannot_be_written_leaves_what_was_there(cli: Cli, file: Path, tmp_path: Path) -> None:
    cli("log", "import", str(file))
    output = tmp_path / "out"
    output.write_text("before")
    ran = cli("log", "export", "99", "-o", str(output))
    assert (ran.code, output.read_text()) == (1, "before")
    assert cli("log", "export", "-o", str(tmp_path / "none" / "x")).code == 1


def test_export_by_words(cli: Cli, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"about {word}", "completion": f"{word} is fine"}) for word in ("灯塔", "whales")]
    (tmp_path / "two.jsonl").write_text("\n".join(lines), encoding="utf-8")
    cli("log", "import", str(tmp_path / "two.jsonl"))
    for words, found in (("whales", 1), ("灯塔", 1), ("fine", 2), ("about", 2), ("none", 0), ("!", 0)):
        out = cli("log", "export", "--format", "openai", "--search", words).out
        assert len(out.splitlines()) == found
    assert cli("log", "export", "--format", "openai", "--search", "fine", "--rating", "good").out == ""
