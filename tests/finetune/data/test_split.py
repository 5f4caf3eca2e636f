"""No conversation and no near-duplicate is in two parts, and what was tested stays in the test."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import TrainingRefused
from assistant.store.judgements.doubles import NEAR, pairs
from finetune.data.example import Example
from finetune.data.select import Candidate
from finetune.data.split import FEWEST_TO_TEST, Seen, Shares, size_of_test, split, words_of
from prompts.message import Message

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "ship",
    "lamp",
    "night",
    "keeper",
    "climbs",
    "stairs",
    "every",
    "evening",
    "wrote",
    "book",
    "passed",
    "home",
    "sleeps",
    "灯塔",
    "晚上",
]


def candidate(conversation: str, asked: str, answer: str) -> Candidate:
    said = (Message("user", asked), Message("assistant", answer))
    return Candidate(Example(said, frozenset({1})), conversation)


def some(count: int, seed: int = 0) -> list[Candidate]:
    """Conversations that differ from one another."""
    choose = random.Random(seed)
    return [candidate(f"c{one}", f"question {one}", " ".join(choose.choices(WORDS, k=12))) for one in range(count)]


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join)
conversations = st.lists(
    st.tuples(st.integers(0, 12), texts, texts, st.booleans()).map(
        lambda one: [
            candidate(f"c{one[0]}", one[1], one[2]),
            *([candidate(f"d{one[0]}", one[1], f"{one[2]} x")] if one[3] else []),
        ]
    ),
    min_size=6,
    max_size=30,
).map(lambda found: [one for some in found for one in some])


@given(conversations, st.integers(0, 5), st.sets(st.integers(0, 12), max_size=3))
@settings(max_examples=60, deadline=None)
def test_no_conversation_and_no_near_duplicate_is_in_two_parts(
    candidates: list[Candidate], seed: int, before: set[int]
) -> None:
    tested = Seen(frozenset(f"c{one}" for one in before), ())
    try:
        placed = split(candidates, Shares(), seed, tested).placed
    except TrainingRefused:
        return
    parts: dict[str, set[str]] = {}
    for one, part, _ in placed:
        parts.setdefault(one.conversation, set()).add(part)
    assert all(len(found) == 1 for found in parts.values())
    assert all(parts[name] == {"test"} for name in tested.conversations if name in parts)
    shingled = [(pairs("", words_of(one.example)), part, group) for one, part, group in placed]
    for place, (said, part, group) in enumerate(shingled):
        for other, other_part, other_group in shingled[:place]:
            if said and other and len(said & other) >= NEAR * len(said | other):
                assert (part, group) == (other_part, other_group)


def test_the_shares_and_the_same_for_the_same_seed() -> None:
    candidates = some(200)
    one, again, other = (split(candidates, Shares(), seed) for seed in (1, 1, 2))
    sizes = [sum(part == wanted for _, part, _ in one.placed) for wanted in ("train", "validation", "test")]
    assert sizes == [160, 20, 20]
    assert one == again
    assert one.placed != other.placed


def test_doubles_are_left_out_and_counted() -> None:
    candidates = some(10)
    parts = split([*candidates, candidates[3], candidates[3]], Shares(), 0)
    assert (parts.doubles, len(parts.placed)) == (2, 10)


def test_what_was_tested_is_tested_again_and_so_is_what_is_near_to_it() -> None:
    candidates = some(40)
    old = candidates[7]
    reworded = candidate("new", old.example.messages[0].content, old.example.messages[1].content.upper() + "!")
    for seed in range(5):
        by_name = split(candidates, Shares(), seed, Seen(frozenset({"c7"})))
        by_words = split(
            [*candidates[:7], reworded, *candidates[8:]], Shares(), seed, Seen(texts=[words_of(old.example)])
        )
        assert by_name.placed[7][1] == by_words.placed[7][1] == "test"
        assert by_name.kept_for_test == by_words.kept_for_test == 1


def test_an_exchange_repeated_in_a_longer_conversation_is_near() -> None:
    long = " ".join(WORDS * 2)
    said = (
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("user", "tell me"),
        Message("assistant", long),
    )
    longer = Candidate(Example((*said, *said[:2]), frozenset({3, 5})), "longer")
    assert split([longer, candidate("short", "tell me", long), *some(8)], Shares(), 0).groups == 9


@pytest.mark.parametrize(
    ("groups", "sizes"),
    [(3, (1, 1, 1)), (9, (5, 1, 3)), (10, (4, 1, 5)), (30, (17, 3, 10)), (100, (72, 10, 18)), (500, (400, 50, 50))],
)
def test_without_shares_the_parts_suit_the_number_of_conversations(groups: int, sizes: tuple[int, int, int]) -> None:
    placed = split(some(groups), None, 0).placed
    assert tuple(sum(part == wanted for _, part, _ in placed) for wanted in ("train", "validation", "test")) == sizes


def test_the_test_part_grows_with_the_conversations() -> None:
    sizes = [size_of_test(groups) for groups in range(3, 3000)]
    assert sizes == sorted(sizes)
    assert all(size <= (groups + 1) / 2 for groups, size in enumerate(sizes, 3))
    assert all(size >= FEWEST_TO_TEST for size in sizes[7:])
    assert sizes[-1] == pytest.approx(300, abs=1)


def test_what_was_tested_takes_room_of_the_test_part() -> None:
    placed = split(some(60), None, 0, Seen(frozenset(f"c{one}" for one in range(10)))).placed
    tested = {one.conversation for one, part, _ in placed if part == "test"}
    assert len(tested) == size_of_test(60) and {f"c{one}" for one in range(10)} <= tested


def test_long_conversations_do_not_push_the_short_ones_out_of_the_training() -> None:
    """The test part is counted in conversations: one of fifty examples doesn't make room for fifty others."""
    long = [candidate("long", f"q{one}", " ".join(random.Random(one).choices(WORDS, k=9))) for one in range(50)]
    for seed in range(10):
        placed = split([*long, *some(20)], None, seed).placed
        tested = {one.conversation for one, part, _ in placed if part == "test"}
        assert len(tested) <= size_of_test(21)
        assert {"long"} < {one.conversation for one, part, _ in placed if part == "train"}


@pytest.mark.parametrize("shares", [(80, 10, 5), (0, 50, 50), (120, -10, -10)])
def test_parts_that_are_not_the_whole_are_refused(shares: tuple[int, int, int]) -> None:
    with pytest.raises(TrainingRefused, match="must add up to 100"):
        Shares(*shares)


def test_too_little_is_refused_with_what_would_do() -> None:
    with pytest.raises(TrainingRefused, match="It is one conversation"):
        split(some(1), Shares(), 0)
    with pytest.raises(TrainingRefused, match="at least 3"):
        split(some(2), Shares(), 0)
    assert len(split(some(2), Shares(90, 0, 10), 0).placed) == 2
    assert {part for _, part, _ in split(some(3), Shares(), 0).placed} == {"train", "validation", "test"}
    with pytest.raises(TrainingRefused, match="earlier dataset"):
        split(some(2), Shares(), 0, Seen(frozenset({"c0", "c1"})))


def test_a_huge_group_is_trained_on() -> None:
    huge = [candidate("huge", f"q{one}", " ".join(random.Random(one).choices(WORDS, k=9))) for one in range(50)]
    placed = split([*huge, *some(10)], Shares(), 0).placed
    assert {part for one, part, _ in placed if one.conversation == "huge"} == {"train"}


def test_replay_and_probe_share_no_passage() -> None:
    folder = Path(__file__).parents[3] / "finetune" / "texts"
    replay, probe = ((folder / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in ("replay", "probe"))
    shingles = [
        {tuple(line.split()[at : at + 8]) for line in text for at in range(len(line.split()) - 7)}
        for text in (replay, probe)
    ]
    assert shingles[0] and shingles[1] and not shingles[0] & shingles[1]
    assert sum(one.stat().st_size for one in folder.iterdir()) <= 200_000
