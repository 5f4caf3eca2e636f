"""The filter line: what it takes, what it refuses, how it goes on."""

from datetime import UTC, datetime

import pytest

from assistant.errors import StoreError
from assistant.store.search.filter import EVERYTHING, Filter
from assistant.store.search.filter_words import completed, moment, parse

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
DAY_MS = 24 * 3600 * 1000
NOW_MS = int(NOW.timestamp() * 1000)


@pytest.mark.parametrize(
    ("typed", "filter_"),
    [
        ("", EVERYTHING),
        ("  ", EVERYTHING),
        ("unrated keep", Filter(rating="unrated", decision="keep")),
        ("rating:bad decision:undecided", Filter(rating="bad", decision="undecided")),
        ("corrected unjudged", Filter(corrected=True, judged=False)),
        ("imported good", Filter(imported=True, rating="good")),
        ("model:qwen3-4b template:plain", Filter(model="qwen3-4b", template="plain")),
        ("adapter:none", Filter(adapter="")),
        ('#story tag:旅行 tag:"to do"', Filter(tags=("story", "旅行", "to do"))),
        ('tag:"not closed', Filter(tags=("not closed",))),
        ("since:30d", Filter(since_ms=NOW_MS - 30 * DAY_MS)),
        ("until:2026-11-23", Filter(until_ms=NOW_MS // DAY_MS * DAY_MS)),
        ("tokens>100 tokens<=500 surprise>2.5", Filter(min_tokens=100, max_tokens=500, min_surprise=2.5)),
        ("length:1000", Filter(min_length=1000)),
    ],
)
def test_words_make_a_filter(typed: str, filter_: Filter) -> None:
    assert parse(typed, NOW) == filter_


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("whale", "no word 'whale'"),
        ("rating:super", "no rating"),
        ("model:", "needs a value"),
        ("tag:", "needs a value"),
        ("since:yesterday", "no date such as"),
        ("since:1y", "no date such as"),
        ("until:0000-01-01", "no date such as"),
        ("tokens>many", "needs a number"),
        ("model>x", "no word 'model>x'"),
        ("colour:red", "no word 'colour:red'"),
    ],
)
def test_what_is_no_word_is_told(typed: str, told: str) -> None:
    with pytest.raises(StoreError, match=told):
        parse(typed, NOW)


def test_a_time_without_a_zone_is_local() -> None:
    assert moment("2026-11-23T14:30", NOW) == NOW_MS


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("unr", "unrated"),
        ("keep mod", "keep model:"),
        ("model:q", "model:qwen3-4b"),
        ("#st", "#story"),
        ("tag:", 'tag:"to do"'),
        ('tag:"t', 'tag:"to do"'),
        ("zzz", None),
        ("unrated", None),
        ("", None),
        ("good ", None),
    ],
)
def test_the_last_word_is_completed(typed: str, whole: str | None) -> None:
    assert completed(typed, {"model": ["qwen3-4b"], "tag": ["to do", "story"]}) == whole
