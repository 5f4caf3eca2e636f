"""What the judged replies of a real log can show, and that it is said alike everywhere."""

import json
import math
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.cli.group import run
from assistant.cli.group import top as assistant
from assistant.store import messages
from assistant.store.judgements import curation
from assistant.store.search.filter import Filter
from assistant.store.training import datasets, runs
from assistant.store.training.datasets import StoredExample
from finetune.cli.group import top as finetune
from finetune.data.select import Selection, count
from finetune.prove.enough import estimate, sentence
from finetune.prove.power import PRIOR_CONVERSATIONS
from tests.assistant.store.judgements.test_curation import MADE, ask

JUDGED = Selection()


def rated(db: Database, conversations: int, *replies: str) -> list[int]:
    """Conversations with one question and these versions of a reply, each rated good. Their first replies."""
    first = []
    for number in range(conversations):
        _, *made = ask(db, f"question {number}", *replies)
        for one in made:
            curation.rate(db, one, 1)
        first.append(made[0])
    return first


def evaluated(db: Database, dataset: str, low: float, high: float, groups: int = 40, tokens: int = 4000) -> None:
    """A run on a dataset of that hash, with a report."""
    made = datasets.add(db, dataset, "supervised", dataset, {}, {}, []) if dataset not in named(db) else None
    found = made or datasets.get(db, dataset)
    one = runs.add(db, dataset, found.id, dataset, "m", "b", {})
    measure = {"key": "perplexity", "main": True, "difference": -0.2, "low": low, "high": high, "groups": groups}
    other = {"key": "forgetting", "main": False, "difference": 0.0, "low": -0.9, "high": 9.0, "groups": 30}
    runs.add_evaluation(db, one.id, "a", {"test": {"tokens": tokens}, "measures": [measure, other]})


def named(db: Database) -> list[str]:
    return [one.name for one in datasets.every(db)]


def test_what_is_counted_of_the_log(db: Database) -> None:
    rated(db, 7, "x" * 400)
    skipped, *_ = rated(db, 1, "skipped")
    curation.decide(db, skipped, "skip")
    found = estimate(db, count(db, JUDGED), JUDGED)
    assert found is not None
    assert (found.conversations, found.replies, found.tokens, found.spread, found.tested) == (7, 7, 100, 1, 0)
    assert estimate(db, count(db, Selection("kto")), Selection("kto")) is None
    assert sentence(db, Selection("preference")) == ""


def test_several_replies_of_a_conversation_count_as_such(db: Database) -> None:
    for reply in rated(db, 3, "short"):
        conversation = messages.get(db, reply).conversation_id
        more = messages.begin_reply(db, conversation, messages.add_user(db, conversation, reply, "and"), MADE)
        messages.end_reply(db, more, "another", "complete", messages.Outcome())
        curation.rate(db, more, 1)
    found = estimate(db, count(db, JUDGED), JUDGED)
    assert found is not None
    assert (found.conversations, found.replies) == (3, 6)
    assert found.tokens == len("short") // 4 + round(len("another") / 4)


def test_longer_replies_need_fewer(db: Database) -> None:
    rated(db, 10, "short")
    short = estimate(db, count(db, JUDGED), JUDGED)
    rated(db, 10, "a long reply " * 30)
    long = estimate(db, count(db, JUDGED), JUDGED)
    assert short is not None and long is not None and short.more_replies > long.more_replies


def test_the_last_evaluation_of_each_dataset_tells_the_spread(db: Database) -> None:
    def spread() -> float:
        found = estimate(db, count(db, JUDGED), JUDGED)
        assert found is not None
        return found.spread

    evaluated(db, "first", -0.5, 0.1)
    wide = spread()
    assert wide > 1.3
    evaluated(db, "second", -0.5, 0.1)
    assert spread() > wide, "two datasets say more than one"
    evaluated(db, "second", -0.21, -0.19)
    assert spread() < wide, "the first evaluation of it doesn't count any more"
    assert spread() == pytest.approx(math.sqrt((10 + 40 * _squared(wide) + 0) / (PRIOR_CONVERSATIONS + 80)), rel=0.02)


def _squared(pooled: float) -> float:
    """Of one evaluation of 40 conversations, from what it was pooled to."""
    return ((PRIOR_CONVERSATIONS + 40) * pooled**2 - PRIOR_CONVERSATIONS) / 40


def test_what_is_tested_already_counts(db: Database) -> None:
    replies = rated(db, 30, "A reply of some words.")
    names = [f"log:{messages.get(db, one).conversation_id}" for one in replies[:25]]
    tested = [
        StoredExample("test", place, None, f"h{place}", "{}", conversation=one) for place, one in enumerate(names)
    ]
    other = StoredExample("test", 99, None, "h99", "{}", conversation="said:elsewhere")
    datasets.add(db, "old", "supervised", "old", {}, {}, [*tested, other])
    found = estimate(db, count(db, JUDGED), JUDGED)
    assert found is not None and found.tested == 25


def test_every_command_says_the_same(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    rated(db, 5, "A reply of some words.")
    ask(db, "not judged", "yet")

    def said(top: Any, *words: str) -> Any:
        capsys.readouterr()
        assert run([*words, "--json"], top, "test") == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    wanted = sentence(db)
    assert wanted.startswith("about ") and wanted.endswith(" more rated replies to tell a 10 % gain from chance")
    assert said(finetune, "data", "--count")["enough"] == wanted
    assert said(finetune, "status", "tiny", "--no-drift")["enough"]["words"] == wanted
    assert run(["status", "tiny", "--no-drift"], finetune, "test") == 0
    assert f"To learn from: 5 conversations; {wanted}." in capsys.readouterr().out
    assert run(["log", "next"], assistant, "test") == 0
    assert f"5 of 6 judged · {wanted}" in capsys.readouterr().err
    imported = Selection(everything=True, filter=Filter(imported=False))
    assert "more replies to tell" in sentence(db, imported)
