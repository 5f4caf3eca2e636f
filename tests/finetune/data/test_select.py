"""What of the log is learned, and what is only read."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from assistant.engine.models import catalogue
from assistant.store import conversations, messages
from assistant.store.database import open_memory, select
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from assistant.store.search.filter import Filter
from finetune.base import Base
from finetune.data.example import Example
from finetune.data.select import Candidate, Selection, count, from_log, tokens_about
from prompts import template as templates
from prompts.message import Message
from tests.assistant.store.judgements.test_curation import ask


@pytest.fixture
def db() -> Iterator[Database]:
    db = open_memory()
    yield db
    db.close()


def selected(db: Database, **fields: object) -> list[Candidate]:
    return list(from_log(db, Selection(**fields), Counter()))  # type: ignore[arg-type]


def learned(examples: list[Candidate]) -> list[list[str]]:
    return [[one.example.messages[place].content for place in sorted(one.example.trained)] for one in examples]


def reply(db: Database, parent_id: int, text: str, state: str = "complete", template: str = "") -> int:
    one = messages.get(db, parent_id).conversation_id
    hash_ = templates.parse(template, name="stored").hash if template else "e3b0"
    made = Provenance("m", "t", hash_, template, {}, None)
    made_id = messages.begin_reply(db, one, parent_id, made)
    messages.end_reply(db, made_id, text, state, Outcome())  # type: ignore[arg-type]
    return made_id


def go_on(db: Database, parent_id: int, text: str) -> int:
    return messages.add_user(db, messages.get(db, parent_id).conversation_id, parent_id, text)


def test_only_what_is_praised_is_learned_and_the_rest_is_read(db: Database) -> None:
    _, first = ask(db, "q1", "unjudged")
    good = reply(db, go_on(db, first, "q2"), "good")
    bad = reply(db, go_on(db, good, "q3"), "bad")
    kept = reply(db, go_on(db, bad, "q4"), "kept")
    curation.rate(db, good, 1)
    curation.rate(db, bad, -1)
    curation.decide(db, kept, "keep")
    (one,) = selected(db)
    said = [message.content for message in one.example.messages]
    assert said == ["q1", "unjudged", "q2", "good", "q3", "bad", "q4", "kept"]
    assert learned([one]) == [["good", "kept"]]
    assert one.message_id == kept


@pytest.mark.parametrize("state", ["cut", "stopped", "interrupted", "failed"])
def test_a_reply_that_did_not_end_is_never_learned(db: Database, state: str) -> None:
    user, _ = ask(db, "q", "whole")
    part = reply(db, user, "par", state)
    curation.rate(db, part, 1)
    left = Counter[str]()
    found = list(from_log(db, Selection(filter=Filter(rating="good")), left))
    assert found == []
    assert left == {"cut off" if state == "cut" else state: 1}


def test_all_takes_the_open_path_without_bad_skipped_or_corrected_ones(db: Database) -> None:
    _, first, _second = ask(db, "q", "old branch", "open branch")
    ask(db, "fine?", "fine")
    for text, act in (
        ("bad?", lambda one: curation.rate(db, one, -1)),
        ("skip?", lambda one: curation.decide(db, one, "skip")),
    ):
        act(ask(db, text, text)[1])
    curation.correct(db, ask(db, "wrong?", "wrong")[1], "right")
    assert learned(selected(db, everything=True)) == [["open branch"], ["fine"], ["right"]]
    curation.rate(db, first, 1)
    assert ["old branch"] in learned(selected(db))


def test_a_reply_of_two_branches_is_learned_once(db: Database) -> None:
    _, first = ask(db, "q", "shared")
    later = [reply(db, go_on(db, first, text), text) for text in ("one", "two")]
    for message_id in (first, *later):
        curation.rate(db, message_id, 1)
    assert learned(selected(db)) == [["shared", "one"], ["two"]]


def test_a_reply_with_reasoning_is_learned_with_it_and_read_without(db: Database) -> None:
    _, first = ask(db, "q", "<think>\nwell\n</think>\n\nyes")
    last = reply(db, go_on(db, first, "sure?"), "sure")
    for message_id in (first, last):
        curation.rate(db, message_id, 1)
    (one,) = selected(db)
    assert learned([one]) == [["<think>\nwell\n</think>\n\nyes", "sure"]]
    assert one.example.before(3)[1].content == "yes"


def test_a_failed_turn_does_not_move_the_mask(db: Database) -> None:
    user, _ = ask(db, "q1", "a")
    nothing = reply(db, user, "", "failed")
    good = reply(db, go_on(db, nothing, "q2"), "good")
    curation.rate(db, good, 1)
    (one,) = selected(db)
    assert one.example == Example((Message("user", "q1\n\nq2"), Message("assistant", "good")), frozenset({1}))


WRAPS = """---
kind: chat
---
# system
Be brief.
# user
Answer this: {{ input }}
"""


def test_the_prompt_is_what_the_template_made_of_it(db: Database) -> None:
    user, _ = ask(db, "why?", "x")
    good = reply(db, user, "because", template=WRAPS)
    curation.rate(db, good, 1)
    (one,) = selected(db)
    assert [message.content for message in one.example.messages] == ["Be brief.", "Answer this: why?", "because"]
    assert one.said == "why?\n\nbecause"


def test_pairs_and_thumbs_are_those_of_the_export(db: Database) -> None:
    _, good, bad = ask(db, "q", "good", "bad")
    curation.rate(db, good, 1)
    curation.rate(db, bad, -1)
    (pair,) = selected(db, kind="preference")
    assert (pair.example.messages[-1].content, pair.example.rejected) == ("good", "bad")
    assert (pair.message_id, pair.rejected_id) == (good, bad)
    assert [(one.message_id, one.example.good) for one in selected(db, kind="kto")] == [(good, True), (bad, False)]


LABELS = """---
kind: label
labels: {glad: [good, great], sad: [bad]}
---
# user
{{ input }} It is
"""


def test_tags_are_the_classes_of_a_template(db: Database) -> None:
    template = templates.parse(LABELS, name="mood")
    _, one = ask(db, "I won!", "Congratulations")
    _, both = ask(db, "Well", "?")
    for message_id, tag in ((one, "glad"), (one, "sport"), (both, "glad"), (both, "sad")):
        curation.tag(db, message_id, tag)
    left = Counter[str]()
    (found,) = from_log(db, Selection("label", template=template), left)
    assert found.example.messages == (Message("user", "I won! It is"), Message("assistant", "good"))
    assert found.example.choices == (("good", "great"), ("bad",))
    assert found.said == "I won!"
    assert left["tagged with several classes"] == 1


def rated_bad(db: Database, one: int) -> None:
    curation.rate(db, one, -1)


def skipped(db: Database, one: int) -> None:
    curation.rate(db, one, 1)
    curation.decide(db, one, "skip")


def corrected(db: Database, one: int) -> None:
    curation.correct(db, one, "better")


def emptied(db: Database, one: int) -> None:
    curation.rate(db, one, 1)
    db.conn.execute("UPDATE messages SET content = ' ' WHERE id = ?", (one,))


def unended(db: Database, message_id: int) -> None:
    db.conn.execute("UPDATE messages SET content = '<think>and then' WHERE id = ?", (message_id,))
    curation.rate(db, message_id, 1)


def only_thought(db: Database, message_id: int) -> None:
    db.conn.execute("UPDATE messages SET content = '<think>so</think> ' WHERE id = ?", (message_id,))
    curation.rate(db, message_id, 1)


def failed(db: Database, one: int) -> None:
    curation.rate(db, one, 1)
    db.conn.execute("UPDATE messages SET state = 'failed' WHERE id = ?", (one,))


def unasked(db: Database, one: int) -> None:
    """An imported conversation that begins with a reply."""
    curation.rate(db, one, 1)
    question = messages.get(db, one).parent_id
    db.conn.execute("UPDATE messages SET parent_id = NULL WHERE id = ?", (one,))
    db.conn.execute("DELETE FROM messages WHERE id = ?", (question,))


def joined(db: Database, one: int) -> None:
    """Two replies in a row are one turn."""
    curation.rate(db, one, 1)
    curation.rate(db, reply(db, one, "and more"), 1)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (rated_bad, "2 judged · 1 used · 1 rated bad"),
        (skipped, "2 judged · 1 used · 1 skipped"),
        (corrected, "3 judged · 2 used · 1 corrected"),
        (emptied, "2 judged · 1 used · 1 empty"),
        (unended, "2 judged · 1 used · 1 with reasoning that never ended"),
        (only_thought, "2 judged · 1 used · 1 empty"),
        (failed, "2 judged · 1 used · 1 failed"),
        (unasked, "2 judged · 1 used · 1 without a question"),
        (joined, "3 judged · 1 used · 2 joined to another reply"),
        (lambda *_: None, "1 judged · 1 used"),
    ],
)
def test_what_is_left_out_is_counted_by_its_reason(
    db: Database, act: Callable[[Database, int], None], words: str
) -> None:
    curation.rate(db, ask(db, "fine?", "fine")[1], 1)
    act(db, ask(db, "why?", "because")[1])
    counts = count(db, Selection())
    assert counts.words(Selection()) == words
    assert counts.total == counts.used + sum(counts.left.values())


def test_every_reply_is_counted_once(db: Database) -> None:
    """Of all replies those on the open path are used, and the other versions are counted."""
    _, first, _open = ask(db, "q", "old version", "open version")
    go_on(db, first, "unanswered")
    curation.correct(db, ask(db, "wrong?", "wrong")[1], "right")
    rated_bad(db, ask(db, "bad?", "bad")[1])
    wanted = Selection(everything=True)
    assert count(db, wanted).words(wanted).startswith("5 replies · 2 used")
    assert count(db, wanted).total == len(select(db, "SELECT 1 FROM messages WHERE role = 'assistant'"))


def test_a_reply_without_a_question_does_not_take_the_others_with_it(db: Database) -> None:
    _, greeting = ask(db, "q", "Hello, I am here.")
    good = reply(db, go_on(db, greeting, "Who lit the lamp?"), "The keeper.")
    unasked(db, greeting)
    curation.rate(db, good, 1)
    (one,) = selected(db)
    assert learned([one]) == [["The keeper."]]
    assert one.example.messages[0] == Message("assistant", "Hello, I am here.")


def test_thumbs_and_votes_are_counted_too(db: Database) -> None:
    _, good, bad = ask(db, "q", "good", "bad")
    curation.rate(db, good, 1)
    curation.rate(db, bad, -1)
    for kind, words in (("kto", "2 rated · 2 used"), ("preference", "1 pair · 1 used")):
        wanted = Selection(kind)  # type: ignore[arg-type]
        assert count(db, wanted).words(wanted) == words


def test_imported_replies_are_those_of_the_open_path(db: Database) -> None:
    _, old, new = ask(db, "q", "old version", "open version")
    db.conn.execute("UPDATE messages SET source_id = '0' WHERE id IN (?, ?)", (old, new))
    db.conn.execute("UPDATE conversations SET source = 'chatgpt'")
    ask(db, "mine?", "not imported")
    assert learned(selected(db, everything=True, filter=Filter(imported=True))) == [["open version"]]


def test_filters_are_those_of_the_log(db: Database) -> None:
    for text in ("one", "two"):
        curation.rate(db, ask(db, text, text)[1], 1)
    curation.tag(db, messages.path(db, 2)[-1].id, "mine")
    assert learned(selected(db, filter=Filter(tags=("mine",)))) == [["one"]]
    assert learned(selected(db, words="two")) == [["two"]]


def test_a_conversation_that_is_hidden_is_not_learned(db: Database) -> None:
    _, good = ask(db, "q", "a")
    curation.rate(db, good, 1)
    conversations.delete(db, messages.get(db, good).conversation_id)
    assert selected(db) == []


def test_tokens_are_estimated_without_a_tokenizer(real_models: Path) -> None:
    encode = Base.open(real_models / catalogue.DEFAULT).chat_format.encode_text
    for text in (
        "The keeper climbs the stairs every evening and writes down which ships have passed the lighthouse.",
        "日心说是指太阳是太阳系的中心，也就是说，行星围绕太阳旋转的理论。这个理论打破了传统的地心说观点。",
        "A lamp, 一盏灯, is lit every evening, 每天晚上, at seven.",
    ):
        assert tokens_about(text) == pytest.approx(len(encode(text)), rel=0.5)
    assert tokens_about("") == 0
