"""What goes out, in every format."""

import csv
import io
import json
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.store import conversations, messages
from assistant.store.files.exports.exporter import FORMATS, export
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from assistant.store.search.filter import Filter
from tests.assistant.store.files import samples
from tests.assistant.store.files.conftest import Take

TEMPLATE = """---
kind: chat
description: d
inputs:
  who: {description: w, default: Ada}
---
# system
You talk to {{ who }}.
"""


@pytest.fixture
def talk(memory: Database) -> Database:
    """A question with a good, a bad and a corrected reply, and one more exchange below the good one."""
    one = conversations.create(memory, template="mine", inputs={"who": "Bob"}).id
    conversations.rename(memory, one, "=Ships <b>")
    question = messages.add_user(memory, one, None, "Why?")
    for text in ("Because.", "=So.", "Thus"):
        reply = messages.begin_reply(memory, one, question, Provenance("m", "mine", "h", TEMPLATE, {}, None))
        messages.end_reply(memory, reply, text, "complete", Outcome())
    curation.rate(memory, 2, 1)
    curation.rate(memory, 3, -1)
    curation.correct(memory, 4, "Thus, <script>.")
    follow = messages.add_user(memory, one, 2, "And?")
    reply = messages.begin_reply(memory, one, follow, Provenance("m", "mine", "h", TEMPLATE, {}, None))
    messages.end_reply(memory, reply, "No more.", "complete", Outcome())
    conversations.create(memory)
    return memory


def lines(db: Database, format_: str, filter_: Filter | None = None) -> list[Any]:
    return [json.loads(line) for line in export(db, [1, 2], format_, filter_ or Filter())]


def contents(said: list[dict[str, str]]) -> list[str]:
    return [one.get("content", one.get("value", "")) for one in said]


def test_data_sets_have_the_open_path_and_the_system_message(talk: Database) -> None:
    expected = ["You talk to Bob.", "Why?", "Because.", "And?", "No more."]
    assert [contents(one["messages"]) for one in lines(talk, "openai")] == [expected]
    rows = lines(talk, "sharegpt")
    assert [contents(one["conversations"]) for one in rows] == [expected]
    assert [one["from"] for one in rows[0]["conversations"]] == ["system", "human", "gpt", "human", "gpt"]


def test_a_filter_chooses_replies_on_any_branch(talk: Database) -> None:
    assert [contents(one["messages"])[-1] for one in lines(talk, "openai", Filter(rating="rated"))] == [
        "Because.",
        "=So.",
    ]
    everything = lines(talk, "openai", Filter(model="m"))
    assert [contents(one["messages"])[-1] for one in everything] == ["=So.", "Thus", "No more."]
    assert lines(talk, "openai", Filter(model="other")) == []
    assert [one["title"] for one in lines(talk, "json", Filter(rating="bad"))] == ["=Ships <b>"]
    table = list(csv.DictReader(io.StringIO("".join(export(talk, [1, 2], "csv", Filter(rating="bad"))))))
    assert [row["message_id"] for row in table] == ["1", "3"]


def test_pairs_are_votes_corrections_and_ratings(talk: Database) -> None:
    curation.prefer(talk, 4, 3)
    curation.prefer(talk, 2, 4, tie=True)
    pairs = [
        (contents(one["prompt"]), *contents(one["chosen"]), *contents(one["rejected"]))
        for one in lines(talk, "preference")
    ]
    prompt = ["You talk to Bob.", "Why?"]
    assert pairs == [(prompt, "Thus", "=So."), (prompt, "Thus, <script>.", "Thus"), (prompt, "Because.", "=So.")]
    curation.decide(talk, 2, "skip")
    assert len(lines(talk, "preference")) == 2


def test_labels_are_ratings_and_corrections(talk: Database) -> None:
    labelled = [(contents(one["completion"])[0], one["label"]) for one in lines(talk, "kto")]
    assert labelled == [("Because.", True), ("=So.", False), ("Thus", False), ("Thus, <script>.", True)]


def test_a_table_has_every_message_and_no_formula(talk: Database) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(export(talk, [1, 2], "csv")))))
    assert [(row["parent_id"], row["open"], row["content"]) for row in rows] == [
        ("", "1", "Why?"),
        ("1", "1", "Because."),
        ("1", "0", "'=So."),
        ("1", "0", "Thus"),
        ("1", "0", "Thus, <script>."),
        ("2", "1", "And?"),
        ("6", "1", "No more."),
    ]
    assert {row["title"] for row in rows} == {"'=Ships <b>"}


def test_a_page_runs_nothing(talk: Database) -> None:
    messages.open_leaf(talk, 1, 5)
    page = "".join(export(talk, [1, 2], "html"))
    assert "Thus, &lt;script&gt;." in page
    assert "<h2>=Ships &lt;b&gt;</h2>" in page
    assert "<script" not in page
    assert page.count("<article>") == 1


@pytest.mark.parametrize("format_", ["preference", "kto", "openai", "sharegpt"])
def test_data_sets_come_back(talk: Database, take: Take, format_: str) -> None:
    text = "".join(export(talk, [1], format_))
    talk.execute("UPDATE conversations SET deleted_ms = 1")
    report = take(text)
    assert (report.left_out, report.conversations) == (0, len(text.splitlines()))
    ids = [row[0] for row in talk.execute("SELECT id FROM conversations WHERE deleted_ms IS NULL ORDER BY id")]
    assert "".join(export(talk, ids, format_)) == text


@pytest.mark.parametrize("format_", FORMATS)
def test_any_text_goes_out(memory: Database, take: Take, format_: str) -> None:
    said = [("human", "\0 \x1b[31m \r\n\u2028"), ("gpt", "你好 \U0001f600 <&>\"'")]
    take([{"conversations": [{"from": who, "value": text} for who, text in said]}])
    curation.rate(memory, 2, 1)
    messages.add_user(memory, 1, 2, "\ud83d")
    "".join(export(memory, [1], format_)).encode()


def test_the_whole_is_what_the_samples_hold() -> None:
    whole = samples.own()[0]
    assert whole["draft"] == "not sent"
    assert (whole["votes"][0]["blind"], whole["votes"][0]["chosen_first"]) == (True, False)
    assert whole["messages"][1]["judgement"]["tags"] == ["sea"]
    assert whole["messages"][3]["corrects_id"] == 3
