"""Drafts: what followed the last tokens before, as long as it pays. That output stays the same: test_real_engine.py."""

import pytest

from assistant.engine.generate.speculation import LONGEST_DRAFT_TOKENS, Drafts, PassTimes, PromptLookup


@pytest.mark.parametrize(
    ("ids", "draft"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], [4, 5, 1, 2]),
        ([1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3], [9, 1, 2, 3]),  # the last time counts
        ([1, 2, 3, 4, 5, 2, 3], []),  # two tokens are too few
        ([1, 2], []),
        ([], []),
        ([7, 7, 7, 7], [7]),
    ],
)
def test_what_followed_before(ids: list[int], draft: list[int]) -> None:
    assert PromptLookup(ids).draft(4) == draft
    assert PromptLookup(ids).draft(0) == []


def times(**seconds: float) -> PassTimes:
    made = PassTimes()
    for tokens, took_s in seconds.items():
        made.note(int(tokens.removeprefix("of")), took_s)
    return made


REPEATING = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 2, 3]


def test_nothing_is_drafted_before_one_token_was_timed() -> None:
    assert Drafts(REPEATING, PassTimes()).next(100) == []


def test_every_length_is_tried_once() -> None:
    known = times(of1=1.0)
    drafts = Drafts(REPEATING, known)
    seen = set()
    for _ in range(LONGEST_DRAFT_TOKENS):
        draft = drafts.next(100)
        seen.add(len(draft))
        known.note(len(draft) + 1, 50.0)
    assert seen == set(range(1, LONGEST_DRAFT_TOKENS + 1))
    assert drafts.next(100) == [], "none of them pays"


def test_a_draft_must_pay() -> None:
    slow = {f"of{size}": float(size) for size in range(1, LONGEST_DRAFT_TOKENS + 2)}
    assert Drafts(REPEATING, times(**slow)).next(100) == []
    fast = {f"of{size}": 1 + size / 100 for size in range(1, LONGEST_DRAFT_TOKENS + 2)}
    assert len(Drafts(REPEATING, times(**fast)).next(100)) == LONGEST_DRAFT_TOKENS
    assert Drafts(REPEATING, times(**fast)).next(2) == [4, 5]


def test_wrong_drafts_end_drafting() -> None:
    drafts = Drafts(REPEATING, times(**{f"of{size}": 1 + size / 4 for size in range(1, LONGEST_DRAFT_TOKENS + 2)}))
    assert drafts.next(100)
    for _ in range(30):
        drafts.checked(3, 0, 1.75)
    assert drafts.next(100) == []
    for _ in range(30):
        drafts.checked(3, 3, 1.75)
    assert drafts.next(100)
