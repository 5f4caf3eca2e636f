"""Every format, read: the tree, who said what, and what was left out."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.store import conversations, messages
from assistant.store.files.exports.exporter import export
from assistant.store.files.imports.importer import import_file
from assistant.store.judgements import curation
from tests.assistant.store.files import samples
from tests.assistant.store.files.conftest import Take


def said(db: Database, conversation: int = 1) -> list[tuple[int | None, str, str]]:
    """(parent, role, content) of each message."""
    return [(row.parent_id, row.role, row.content) for row in messages.all_of(db, conversation)]


def of_conversation(db: Database, *names: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = db.execute(f"SELECT {', '.join(names)} FROM conversations WHERE id = 1").fetchone()
    return row


def test_chatgpt_keeps_its_tree(memory: Database, take: Take) -> None:
    report = take(samples.CHATGPT)
    assert (report.format, report.conversations, report.messages) == ("chatgpt", 1, 5)
    assert said(memory) == [
        (None, "user", "What is a lighthouse for?"),
        (1, "assistant", "<think>\nIt warns ships.\n</think>\n\nTo warn ships."),
        (1, "assistant", "For ships."),
        (3, "user", "And this one?"),
        (4, "assistant", "That is a lamp."),
    ]
    assert report.left == {
        "image attachments left out": 1,
        "thoughts put before their reply": 1,
        "system messages kept with their conversation": 1,
        "tool call messages left out": 1,
        "tool messages left out": 1,
    }
    told = of_conversation(memory, "title", "system", "source", "source_id", "created_ms", "leaf_id")
    assert told == ("Lighthouses 灯塔", "I keep a lighthouse.\n\nBe brief.", "chatgpt", "c-1", 1_700_000_000_500, 5)
    assert [messages.reply_info(memory, one).provenance.model for one in (2, 3)] == ["o3", "gpt-4o"]
    assert messages.get(memory, 2).created_ms == 1_700_000_005_000


def test_chatgpts_zip_has_ratings(memory: Database, tmp_path: Path) -> None:
    file = tmp_path / "export.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("chat.html", "x")
        archive.writestr("conversations-001.json", json.dumps(samples.CHATGPT))
        archive.writestr("conversations-000.json", json.dumps([{**samples.CHATGPT[0], "mapping": {}}]))
        archive.writestr("message_feedback.json", json.dumps([{"id": "n6", "rating": "thumbs_down"}]))
    report = import_file(memory, file)
    assert (report.conversations, report.left_out) == (1, 1)
    assert curation.judgement(memory, 3).rating == -1


def test_claude_keeps_branches_and_attached_text(memory: Database, take: Take) -> None:
    report = take(samples.CLAUDE)
    assert report.format == "claude"
    assert said(memory) == [
        (None, "user", "When is high tide?\n\ntable.txt:\n\n06:12"),
        (1, "assistant", "Twelve past six."),
        (1, "assistant", "<think>\nThe table says it.\n</think>\n\nAt 06:12."),
    ]
    assert report.left == {
        "attachments left out": 1,
        "file attachments left out": 1,
        "tool calls left out": 1,
        "thoughts put before their reply": 1,
    }
    assert of_conversation(memory, "title", "source_id", "created_ms") == ("Tides", "u-1", 1_740_823_200_000)


@pytest.mark.parametrize("layout", ["lines", "list"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai", [(None, "user", "Hi"), (1, "assistant", "<think>\nA greeting.\n</think>\n\nHello. 你好")]),
        ("sharegpt", [(None, "user", "Hi"), (1, "assistant", "Hello.")]),
        ("alpaca", [(None, "user", "a"), (1, "assistant", "b"), (2, "user", "Translate\n\nGuten Tag")]),
        ("completion", [(None, "user", "Once upon"), (1, "assistant", "a time")]),
    ],
)
def test_data_sets(
    memory: Database, take: Take, layout: str, name: str, expected: list[tuple[int | None, str, str]]
) -> None:
    values = samples.JSON_FILES[name]
    report = take(values if layout == "list" else "\ufeff" + "\r\n".join(map(json.dumps, values)))
    assert (report.format, report.conversations) == (name, len(values))
    assert said(memory)[: len(expected)] == expected
    assert of_conversation(memory, "source") == (name,)
    assert of_conversation(memory, "system")[0] == {"openai": "Be brief.", "sharegpt": "Be brief.", "alpaca": "S"}.get(
        name, ""
    )


def test_a_label_is_a_rating_and_a_pair_a_vote(memory: Database, take: Take) -> None:
    take([*samples.COMPLETION, *samples.PREFERENCE])
    assert curation.judgement(memory, 2).rating == 1
    assert said(memory, 2) == [(None, "user", "Hi"), (3, "assistant", "Hello"), (3, "assistant", "What?")]
    vote = curation.preferences(memory)[0]
    assert (vote.chosen_id, vote.rejected_id) == (4, 5)
    assert conversations.get(memory, 2).leaf_id == 4


def test_one_list_of_messages_is_one_conversation(memory: Database, take: Take) -> None:
    report = take([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    assert (report.format, report.conversations) == ("openai", 1)
    assert said(memory) == [(None, "user", "Hi"), (1, "assistant", "Hello")]


def test_utf_16_is_read(memory: Database, take: Take) -> None:
    take(json.dumps(samples.SHAREGPT).encode("utf-16"))
    assert said(memory)[1] == (1, "assistant", "Hello.")


def test_our_own_export_gives_the_same_log_back(memory: Database, take: Take) -> None:
    db = samples.own_log()
    db.execute("UPDATE messages SET created_ms = created_ms - 5000 WHERE id = 3")  # a clock set back
    before = list(export(db, [1, 2], "json"))
    db.close()
    report = take("".join(before))
    assert (report.format, report.conversations, report.left_out, dict(report.left)) == ("json", 2, 0, {})
    assert list(export(memory, [1, 2], "json")) == before


def test_our_markdown_comes_back_word_for_word(memory: Database, take: Take) -> None:
    text = samples.markdown()
    report = take(text)
    assert (report.format, report.conversations, report.doubles) == ("markdown", 1, 1)
    assert said(memory)[0][2] == "Why?\n\n# not a title\n## You · not a heading"
    first = "".join(export(memory, [1], "markdown"))
    assert text.startswith(first)


@pytest.mark.parametrize(
    "content", ["# x", "\\# x", "a\n# x\n\n", "\n\nb", "## You · z\n\\## You", "c\n", "#", "\\\\# y"]
)
def test_any_words_come_back_from_markdown(memory: Database, take: Take, content: str) -> None:
    one = conversations.create(memory).id
    leaf = messages.add_user(memory, one, None, content)
    messages.add_user(memory, one, leaf, "next")
    text = "".join(export(memory, [one, one], "markdown"))
    conversations.delete(memory, one)
    take(text)
    assert [row[2] for row in said(memory, 2)] == [content + "\n\nnext"]


def test_the_first_logs_of_llm(memory: Database, tmp_path: Path) -> None:
    report = import_file(memory, samples.llm_file(tmp_path, "0.3"))
    assert (report.format, report.conversations, report.messages) == ("llm", 2, 6)
    assert [row[1:] for row in said(memory)] == [
        ("user", "One"),
        ("assistant", "first"),
        ("user", "Two"),
        ("assistant", "second"),
    ]
    assert messages.get(memory, 1).created_ms == 1_680_343_200_000


def test_responses_of_llm(memory: Database, tmp_path: Path) -> None:
    report = import_file(memory, samples.llm_file(tmp_path, "0.19"))
    assert (report.conversations, report.messages) == (2, 6)
    assert dict(report.left) == {"attachments left out": 1, "system messages kept with their conversation": 1}
    assert [row[2] for row in said(memory, 2)] == ["A name?", "Percy", "A long text\n\nAnother?", "Polly"]
    info = messages.reply_info(memory, 4)
    assert (info.provenance.model, info.provenance.sampling) == ("gpt-4o", {"temperature": 0.5})
    assert (info.outcome.prompt_tokens, info.outcome.completion_tokens, info.outcome.total_s) == (12, 3, 1.5)
    assert memory.execute("SELECT title, system FROM conversations WHERE id = 2").fetchone() == (
        "Pelicans",
        "Be brief.",
    )


def test_threads_of_llm_keep_their_branches(memory: Database, tmp_path: Path) -> None:
    report = import_file(memory, samples.llm_file(tmp_path, "0.32"))
    assert dict(report.left) == {
        "attachments left out": 1,
        "system messages kept with their conversation": 1,
        "thoughts put before their reply": 1,
    }
    assert said(memory) == [
        (None, "user", "A long text. Sum it up."),
        (1, "assistant", "<think>\nIt is long.\n</think>\n\nShort."),
        (1, "assistant", "Shorter."),
    ]
    assert of_conversation(memory, "title", "leaf_id", "system") == ("Sums", 3, "Be brief.")
