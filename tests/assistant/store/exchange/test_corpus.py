"""A real corpus, English and Chinese, in and out again."""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import yaml
from sqlite_utils import Database

from assistant.store.exchange.exporter import export
from assistant.store.exchange.importer import import_file


def said(language: str) -> Iterator[list[str]]:
    """The conversations of the corpus in one language: what two sides said in turn."""
    for file in sorted((Path(str(files("chatterbot_corpus"))) / "data" / language).glob("*.yml")):
        for conversation in yaml.safe_load(file.read_text(encoding="utf-8"))["conversations"]:
            if isinstance(conversation, list):  # one or two are a text alone
                yield [str(text) for text in conversation]


def test_the_corpus_comes_in_and_goes_out(memory: Database, tmp_path: Path) -> None:
    talks = [talk for language in ("english", "chinese") for talk in said(language)]
    file = tmp_path / "corpus.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for talk in talks:
            sides = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(talk)]
            out.write(json.dumps({"messages": sides}, ensure_ascii=False) + "\n")
    report = import_file(memory, file)
    assert report.conversations > 1300
    assert report.conversations + report.doubles + report.left_out == len(talks)
    ids = [row[0] for row in memory.execute("SELECT id FROM conversations ORDER BY id")]
    for format_ in ("json", "openai", "sharegpt", "markdown"):
        again = tmp_path / format_
        again.write_text("".join(export(memory, ids, format_)), encoding="utf-8")
        assert import_file(memory, again).conversations == 0
    kept = {tuple(one["content"] for one in json.loads(line)["messages"]) for line in export(memory, ids, "openai")}
    assert {tuple(talk) for talk in talks if all(text.strip() for text in talk)} == kept
