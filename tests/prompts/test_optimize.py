"""The search, with a judge that knows how good each change is."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from prompts.moves import Move, applied
from prompts.optimize import (
    MOST_FINALISTS,
    BudgetTooSmall,
    Candidate,
    Judged,
    Purse,
    TooFewRows,
    finalists_of,
    halve,
    most_held_back,
    search,
    split,
)
from prompts.template import Template, parse

START = parse("---\nkind: text\n---\n# user\nBegin {{ input }}\n", name="start")
CLASSES = [("a", "b", "c")[number % 3] for number in range(60)]


def said(text: str, dimension: str = "instruction") -> Move:
    if dimension == "instruction":
        return Move(dimension, text, sections={"user": f"{text} {{{{ input }}}}"})
    return Move(dimension, text, examples=START.examples, labels=None, reason=True)


class Knowing:
    """A row is right with the probability that the words of the template stand for, the same at every look."""

    def __init__(self, chances: dict[str, float], otherwise: float = 0.5) -> None:
        self.chances, self.otherwise = chances, otherwise
        self.asked: set[tuple[str, int]] = set()
        self.looks: list[tuple[str, int]] = []

    def cost(self, template: Template, rows: Sequence[int]) -> int:
        return sum((template.hash, row) not in self.asked for row in rows)

    async def judge(self, template: Template, rows: Sequence[int], beside: Sequence[int] = ()) -> list[Judged]:
        assert all((template.hash, row) in self.asked for row in beside)
        self.asked |= {(template.hash, row) for row in rows}
        self.looks += [(template.hash, row) for row in rows]
        text = template.sections["user"]
        chance = next((value for word, value in self.chances.items() if word in text), self.otherwise)
        return [Judged(float(Random(f"{row}").random() < chance), chance) for row in rows]


def test_parts_hold_every_row_once_and_all_classes() -> None:
    parts = split(CLASSES, 99, 0)
    assert sorted(parts.train + parts.validation + parts.test) == list(range(60))
    for some in (parts.train, parts.validation, parts.test):
        counts = Counter(CLASSES[row] for row in some)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert {CLASSES[row] for row in parts.train[:3]} == {"a", "b", "c"}
    assert split(CLASSES, 99, 0) == parts != split(CLASSES, 99, 1)
    short = split(CLASSES, 5, 0)
    assert (len(short.train), len(short.validation), len(short.test)) == (50, 5, 5)
    with pytest.raises(TooFewRows, match="Give 12"):
        split(CLASSES[:11], 9, 0)


@pytest.mark.parametrize("calls", [1, 5])
def test_the_least_budget_is_told_and_is_enough(calls: int) -> None:
    with pytest.raises(BudgetTooSmall, match="at least") as refused:
        most_held_back(10, calls)
    least = int(str(refused.value).split()[-1].rstrip(".").replace(",", ""))
    assert most_held_back(least, calls) == 4
    assert finalists_of(split(CLASSES, 4, 0), least, calls) == 1
    assert finalists_of(split(CLASSES, 4, 0), 4 * least, calls) == MOST_FINALISTS
    with pytest.raises(BudgetTooSmall):
        most_held_back(least - 1, calls)


@pytest.mark.parametrize("budget", [35, 60, 200, 1000])
async def test_the_budget_is_kept_and_the_test_part_looked_at_once(budget: int) -> None:
    judge = Knowing({f"word{number:02}": number / 30 for number in range(30)}, 0.2)
    parts = split(CLASSES, most_held_back(budget, 1), 0)
    finalists = finalists_of(parts, budget, 1)
    moves = [said(f"word{number:02}") for number in range(30)]
    found = await search(START, moves, parts, judge, budget, 0, finalists=finalists)
    assert len(judge.asked) <= budget
    tested = [look for look in judge.looks if look[1] in parts.test]
    assert Counter(tested).most_common(1)[0][1] == 1
    assert len({template for template, _ in tested}) == 2
    assert len(found.test_before) == len(found.test_after) == len(parts.test)
    assert len(found.finalists) <= finalists


async def test_the_best_of_many_is_found() -> None:
    judge = Knowing({"splendid": 0.95, "poor": 0.1}, 0.3)
    moves = [said(text) for text in ("poor 1", "poor 2", "plain", "splendid", "poor 3", "other")]
    found = await search(START, moves, split(CLASSES, 15, 0), judge, 300, 0)
    assert found.improved
    assert "splendid" in found.chosen.template.sections["user"]
    assert found.after > found.before
    assert sum(found.test_after) > sum(found.test_before)


async def test_a_tie_is_no_win() -> None:
    judge = Knowing({}, 0.5)
    found = await search(START, [said(f"word{number}") for number in range(8)], split(CLASSES, 9, 0), judge, 200, 0)
    assert not found.improved
    assert found.chosen.template is START
    assert found.test_after == []
    assert found.after == found.before


async def test_what_is_good_in_two_dimensions_is_put_together() -> None:
    judge = Knowing({"fine {{ input }}\nFirst think": 1.0, "fine": 0.6, "think": 0.6}, 0.2)
    moves = [said("fine"), said("dull"), said("on", "reasoning")]
    found = await search(START, moves, split(CLASSES, 12, 0), judge, 300, 0)
    assert {move.dimension for move in found.chosen.moves} == {"instruction", "reasoning"}


async def test_nothing_to_try_is_nothing_found() -> None:
    found = await search(START, [], split(CLASSES, 9, 0), Knowing({}), 200, 0)
    assert not found.improved
    assert found.finalists == []


async def test_halving_gives_the_better_half_more_rows() -> None:
    judge = Knowing({f"word{number}": number / 8 for number in range(8)})
    some = [Candidate(made) for number in range(8) if (made := applied(START, [said(f"word{number}")]))]
    tried = await halve(some, list(range(60)), judge, Purse(180))
    assert "word7" in tried[0].candidate.template.sections["user"]
    rows = [one.rows for one in tried]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > rows[-1]
