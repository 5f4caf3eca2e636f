"""A real corpus, English and Chinese, in and out again."""

import json
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from sqlite_utils import Database

from assistant.store.database import open_memory
from assistant.store.files.exports.exporter import export
from assistant.store.files.imports.importer import import_file
from assistant.store.judgements import curation


def said(language: str) -> Iterator[list[str]]:
    """The conversations of the corpus in one language: what two sides said in turn."""
    for file in sorted((Path(str(files("chatterbot_corpus"))) / "data" / language).glob("*.yml")):
        for conversation in yaml.safe_load(file.read_text(encoding="utf-8"))["conversations"]:
            if isinstance(conversation, list):  # one or two are a text alone
                yield [str(text) for text in conversation]


def curate(db: Database) -> None:
    """Every kind of judgement, on some replies of each kind."""
    replies = [row[0] for row in db.execute("SELECT message_id FROM exchanges ORDER BY message_id")]
    for place, one in enumerate(replies[:60]):
        curation.rate(db, one, (1, -1, 0)[place % 3])
        curation.decide(db, one, ("keep", "skip", "undecided")[place % 5 % 3])
        if place % 4 == 0:
            curation.tag(db, one, "旅行" if place % 8 else "travel")
            curation.note(db, one, f"note {place}")
        if place % 7 == 0:
            curation.prefer(db, curation.correct(db, one, f"better {place}"), one)


def whole(db: Database, ids: list[int]) -> list[str]:
    return "".join(export(db, ids, "json")).splitlines()


def told_again(db: Database, folder: Path) -> list[dict[str, Any]]:
    """All of the log out and into a new one and out of that, in the ids of the first."""
    file = folder / "whole.jsonl"
    lines = whole(db, [row[0] for row in db.execute("SELECT id FROM conversations ORDER BY id")])
    file.write_text("\n".join(lines), encoding="utf-8")
    with closing(open_memory()) as other:
        assert import_file(other, file).conversations == len(lines)
        again = whole(other, [row[0] for row in other.execute("SELECT id FROM conversations ORDER BY id")])
        new = [row[0] for row in other.execute("SELECT id FROM messages ORDER BY id")]
    old = [one["id"] for line in lines for one in json.loads(line)["messages"]]
    names = dict(zip(new, old, strict=True))
    return [renamed(json.loads(line), names, json.loads(first)["id"]) for line, first in zip(again, lines, strict=True)]


def renamed(conversation: dict[str, Any], names: dict[int, int], own: int) -> dict[str, Any]:
    for one in (conversation, *conversation["messages"], *conversation["votes"]):
        for name in ("id", "parent_id", "leaf_id", "corrects_id", "chosen_id", "rejected_id"):
            if one.get(name) is not None and (one is not conversation or name != "id"):
                one[name] = names[one[name]]
    return {**conversation, "id": own}


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
    curate(memory)
    assert told_again(memory, tmp_path) == [json.loads(line) for line in whole(memory, ids)]


def test_conversations_of_several_turns_come_in_whole(memory: Database) -> None:
    file = Path(__file__).parents[3] / "data" / "conversations.jsonl"
    report = import_file(memory, file)
    talks = [json.loads(line)["messages"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert (report.conversations, report.messages, report.left) == (30, sum(map(len, talks)), {})
    ids = [row[0] for row in memory.execute("SELECT id FROM conversations ORDER BY id")]
    assert [json.loads(line)["messages"] for line in export(memory, ids, "openai")] == talks
