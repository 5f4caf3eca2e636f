"""A better template, searched for on labelled rows within a number of model calls.

The rows are split by class into a train, a validation and a test part. Single moves are compared on the train part by
successive halving (Karnin et al. 2013; Jamieson and Talwalkar 2016, arXiv:1502.07943): many on few rows, the better
half on more. The best are put together and compared in the same way. The validation part chooses among the finalists
and the template as it was; the test part is looked at once, for that and the one that was chosen.

Nothing here asks a model: what does is passed in as a `Judge`.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from prompts.errors import PromptError
from prompts.examples import in_turn
from prompts.moves import Move, applied
from prompts.template import Template

Row = Mapping[str, Any]

TRAIN, VALIDATION = 0.4, 0.3
"""Shares of the rows; the rest is the test part."""
HELD_BACK = 0.5
"""At most this share of the budget is kept for validation and test."""
FINALISTS, MOST_FINALISTS = 3, 6
"""As many as the rows are chosen for, and where there are few rows; fewer where an answer costs much."""
FIRST_ROWS = 4
"""Rows that every candidate is tried on."""
ROUNDS = 2
SINGLE = 0.65
"""Share of the search that compares single moves; the rest compares combinations."""
LEAST_ROWS = 4
"""Of a part."""


class BudgetTooSmall(PromptError):
    """So few calls can't tell one template from another."""


class TooFewRows(PromptError):
    """So few rows can't be split into three parts."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How right one answer is: by the main measure, and more finely, such as by the probability of the right class."""

    value: float
    fine: float


class Judge(Protocol):
    """Asks a model. What was asked once is kept."""

    def cost(self, template: Template, rows: Sequence[int]) -> int:
        """Calls that it would take to judge the template on the rows; of more rows no fewer."""

    async def judge(self, template: Template, rows: Sequence[int], beside: Sequence[int] = ()) -> list[Judged]:
        """One for each of `rows`; the rows `beside` them have been asked about and help to calibrate."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Numbers of rows. Those of `train` begin with all classes in turn."""

    train: list[int]
    validation: list[int]
    test: list[int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A template and the moves that made it; none: as it was."""

    template: Template
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate with its means on the rows that it was tried on."""

    candidate: Candidate
    value: float
    fine: float
    rows: int


@dataclass(slots=True)
class Found:
    """What a search came to. `chosen` is the template as it was where nothing was better in validation."""

    chosen: Candidate
    before: float
    after: float
    """Means on the validation part."""
    finalists: list[Tried] = field(default_factory=list)
    test_before: list[float] = field(default_factory=list)
    test_after: list[float] = field(default_factory=list)
    """Of each row of the test part; empty where nothing was chosen."""

    @property
    def improved(self) -> bool:
        """Whether the validation score is higher. No proof: it is the best of several."""
        return bool(self.chosen.moves)


def split(classes: Sequence[str], each_most: int, seed: int) -> Parts:
    """Rows of each class in all parts, as evenly as can be. `each_most`: longest validation and test part.

    Raises `TooFewRows`.
    """
    if len(classes) < 3 * LEAST_ROWS:
        raise TooFewRows(
            f"{len(classes)} rows are too few to learn from, choose by and test on. Give {3 * LEAST_ROWS}."
        )
    order = in_turn(classes, Random(seed))
    validation = min(round(len(order) * VALIDATION), each_most)
    test = min(len(order) - round(len(order) * (TRAIN + VALIDATION)), each_most)
    return Parts(order[validation + test :], order[:validation], order[validation : validation + test])


def most_held_back(budget: int, calls_a_row: int) -> int:
    """Rows that the validation and the test part may each have. Raises `BudgetTooSmall`."""
    for finalists in range(FINALISTS, 0, -1):
        asked_for_each = (finalists + 1 + 2) * calls_a_row
        most = int(budget * HELD_BACK) // asked_for_each
        if most >= LEAST_ROWS:
            return most
    least = math.ceil(LEAST_ROWS * asked_for_each / HELD_BACK)
    raise BudgetTooSmall(f"A budget of {budget:,} calls is too small to tell templates apart. Give at least {least:,}.")


def finalists_of(parts: Parts, budget: int, calls_a_row: int) -> int:
    """How many candidates the validation part can choose among for what is kept back."""
    rows = int(budget * HELD_BACK) // calls_a_row - 2 * len(parts.test)
    return max(1, min(MOST_FINALISTS, rows // len(parts.validation) - 1))


async def search(
    template: Template,
    moves: Sequence[Move],
    parts: Parts,
    judge: Judge,
    budget: int,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
    finalists: int = FINALISTS,
) -> Found:
    """The best template that `budget` calls find. `tell` gets a line on each step."""
    start = Candidate(template)
    held = judge.cost(template, parts.test) * 2 + judge.cost(template, parts.validation) * (finalists + 1)
    purse = Purse(max(0, budget - held))
    singles = _candidates(template, ([move] for move in _mixed(moves, Random(seed))))
    tell(f"{len(singles)} single changes")
    tried = await halve(singles, parts.train, judge, Purse(int(purse.left * SINGLE), purse), tell)
    pairs = _candidates(template, _together(tried))
    tell(f"{len(pairs)} combinations")
    best_singles = [one.candidate for one in tried[: max(2, len(pairs) // 2)]]
    tried += await halve([*pairs, *best_singles], parts.train, judge, purse, tell)
    return await _chosen(start, _best(tried)[:finalists], parts, judge, tell)


async def halve(
    candidates: Sequence[Candidate],
    rows: Sequence[int],
    judge: Judge,
    purse: "Purse",
    tell: Callable[[str], None] = lambda _: None,
) -> list[Tried]:
    """Those that could be tried, the best first: who was tried on more rows stands before who was left behind."""
    left, ranked = list(candidates), list[Tried]()
    share, upto = purse.left // ROUNDS, 0
    for turn in range(ROUNDS):
        spent, tried = 0, list[Tried]()
        upto = min(len(rows), _rows_for(left, share, judge, rows, upto))
        for candidate in left:
            cost = judge.cost(candidate.template, rows[:upto])
            if cost > purse.left or (spent and spent + cost > share + FIRST_ROWS):
                continue
            purse.pay(cost)
            spent += cost
            judged = await judge.judge(candidate.template, rows[:upto])
            tried.append(_tried(candidate, judged))
        if not tried:
            break
        tried = _best(tried)
        ranked = [*tried, *(one for one in ranked if one.candidate not in [new.candidate for new in tried])]
        tell(f"{len(tried)} on {upto} rows: best {tried[0].value:.3f}, {about(tried[0].candidate.moves)}")
        left = [one.candidate for one in tried[: (len(tried) + 1) // 2]]
        if turn and upto == len(rows):
            break
    return ranked


def about(moves: Iterable[Move]) -> str:
    """What was changed, in words."""
    return "; ".join(f"{move.dimension} ({move.about})" for move in moves) or "as it was"


class Purse:
    """Calls that may still be made; those of a part are taken from the whole too."""

    def __init__(self, left: int, whole: "Purse | None" = None) -> None:
        self.left = left
        self._whole = whole

    def pay(self, calls: int) -> None:
        self.left -= calls
        if self._whole is not None:
            self._whole.pay(calls)


async def _chosen(
    start: Candidate, finalists: Sequence[Tried], parts: Parts, judge: Judge, tell: Callable[[str], None]
) -> Found:
    """By validation; as it was where nobody is better there. Then the one look at the test part."""
    before = _tried(start, await judge.judge(start.template, parts.validation))
    told = [_tried(one.candidate, await judge.judge(one.candidate.template, parts.validation)) for one in finalists]
    tell(f"validation: {before.value:.3f} as it was; " + ", ".join(f"{one.value:.3f}" for one in told))
    better = [one for one in told if one.value > before.value]
    if not better:
        return Found(start, before.value, before.value, told)
    best = max(better, key=lambda one: one.value + one.fine)
    found = Found(best.candidate, before.value, best.value, told)
    old = await judge.judge(start.template, parts.test, beside=parts.validation)
    new = await judge.judge(best.candidate.template, parts.test, beside=parts.validation)
    found.test_before, found.test_after = [one.value for one in old], [one.value for one in new]
    return found


def _rows_for(candidates: Sequence[Candidate], share: int, judge: Judge, rows: Sequence[int], upto: int) -> int:
    """How many rows the candidates can be tried on for `share` calls; some more than the round before."""
    least = min(len(rows), upto + 1 if upto else FIRST_ROWS)

    def cost(count: int) -> int:
        return sum(judge.cost(one.template, rows[:count]) for one in candidates)

    return least + bisect_right(range(least + 1, len(rows) + 1), share, key=cost)


def _together(tried: Sequence[Tried]) -> list[list[Move]]:
    """Combinations of the best moves of different dimensions: the two best of each with those of the others."""
    best: dict[str, list[Move]] = {}
    for one in tried:
        for move in one.candidate.moves:
            if len(known := best.setdefault(move.dimension, [])) < 2:
                known.append(move)
    names = list(best)
    pairs = [
        [one, other]
        for at, name in enumerate(names)
        for later in names[at + 1 :]
        for one in best[name]
        for other in best[later]
    ]
    all_best = [[some[0] for some in best.values()]] if len(names) > 2 else []
    rank = {id(move): place for place, one in enumerate(tried) for move in one.candidate.moves}
    return sorted(all_best + pairs, key=lambda some: sum(rank[id(move)] for move in some) / len(some))


def _candidates(template: Template, several: Iterable[Sequence[Move]]) -> list[Candidate]:
    """Each that is a template, none twice."""
    found: dict[str, Candidate] = {}
    for moves in several:
        made = applied(template, moves)
        if made is not None:
            found.setdefault(made.hash, Candidate(made, tuple(moves)))
    return list(found.values())


def _mixed(moves: Sequence[Move], random: Random) -> list[Move]:
    """One of each dimension in turn, so that a small budget tries all dimensions."""
    return [moves[at] for at in in_turn([move.dimension for move in moves], random)]


def _tried(candidate: Candidate, judged: Sequence[Judged]) -> Tried:
    count = len(judged)
    return Tried(candidate, sum(one.value for one in judged) / count, sum(one.fine for one in judged) / count, count)


def _best(tried: Iterable[Tried]) -> list[Tried]:
    """The best first, each candidate as it was tried on most rows. Few rows prove little: a mean counts the more the
    more rows it is of, and is drawn to that of all candidates.
    """
    most: dict[str, Tried] = {}
    for one in tried:
        known = most.get(one.candidate.template.hash)
        most[one.candidate.template.hash] = one if known is None or one.rows > known.rows else known
    middle = sum(one.value + one.fine for one in most.values()) / max(1, len(most))

    def shrunk(one: Tried) -> float:
        return (one.rows * (one.value + one.fine) + FIRST_ROWS * middle) / (one.rows + FIRST_ROWS)

    return sorted(most.values(), key=shrunk, reverse=True)
