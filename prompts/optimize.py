"""Search for a better template on labelled rows, within a budget of model calls.

Rows are split by class into a train, a validation and a test part. Single moves are compared on the train part by
successive halving (Karnin et al. 2013; Jamieson and Talwalkar 2016, arXiv:1502.07943): many on few rows, the better
half on more. Combinations of the best are compared in the same way. The validation part decides between the finalists
and the original; the test part is used once, for the original and the chosen template.

The model is called through a `Judge`, which is an argument.
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
"""Largest share of the budget reserved for validation and test."""
FINALISTS, MOST_FINALISTS = 3, 6
"""Usual number of finalists, and the most if there are few rows; fewer if an answer costs many calls."""
FIRST_ROWS = 4
"""Rows that every candidate is tried on."""
ROUNDS = 2
SINGLE = 0.65
"""Share of the search budget for single moves; the rest is for combinations."""
LEAST_ROWS = 4
"""Fewest rows of each part."""


class BudgetTooSmall(PromptError):
    """The budget of calls is too small to compare templates."""


class TooFewRows(PromptError):
    """There are too few rows to split into three parts."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Score of one answer: main measure, and a finer score such as the probability of the right class."""

    value: float
    fine: float


class Judge(Protocol):
    """Scores templates with a model. Caches answers."""

    def cost(self, template: Template, rows: Sequence[int]) -> int:
        """Calls needed to judge the template on the rows; doesn't decrease with more rows."""

    async def judge(self, template: Template, rows: Sequence[int], beside: Sequence[int] = ()) -> list[Judged]:
        """Scores of `rows`; answers to the rows in `beside` help to calibrate."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Row indices. `train` alternates between the classes."""

    train: list[int]
    validation: list[int]
    test: list[int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A template and the moves that made it; none: the original."""

    template: Template
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate with its mean scores on the first `rows` rows."""

    candidate: Candidate
    value: float
    fine: float
    rows: int


@dataclass(slots=True)
class Found:
    """Result of a search. `chosen`: the original, if nothing was better in validation."""

    chosen: Candidate
    before: float
    after: float
    """Mean scores on the validation part."""
    finalists: list[Tried] = field(default_factory=list)
    test_before: list[float] = field(default_factory=list)
    test_after: list[float] = field(default_factory=list)
    """Scores on each test row; empty if the original was kept."""

    @property
    def improved(self) -> bool:
        """Whether the validation score is higher. No proof, as it is the best of several."""
        return bool(self.chosen.moves)


def split(classes: Sequence[str], each_most: int, seed: int) -> Parts:
    """Split rows with each class as evenly as possible. `each_most`: limit for the validation and the test part.

    Raises `TooFewRows`.
    """
    if len(classes) < 3 * LEAST_ROWS:
        raise TooFewRows(f"{len(classes)} rows are too few to train, validate and test. Give {3 * LEAST_ROWS}.")
    order = in_turn(classes, Random(seed))
    validation = min(round(len(order) * VALIDATION), each_most)
    test = min(len(order) - round(len(order) * (TRAIN + VALIDATION)), each_most)
    return Parts(order[validation + test :], order[:validation], order[validation : validation + test])


def most_held_back(budget: int, calls_a_row: int) -> int:
    """Most rows of the validation and of the test part. Raises `BudgetTooSmall`."""
    for finalists in range(FINALISTS, 0, -1):
        asked_for_each = (finalists + 1 + 2) * calls_a_row
        most = int(budget * HELD_BACK) // asked_for_each
        if most >= LEAST_ROWS:
            return most
    least = math.ceil(LEAST_ROWS * asked_for_each / HELD_BACK)
    raise BudgetTooSmall(f"A budget of {budget:,} calls is too small to compare templates. Give at least {least:,}.")


def finalists_of(parts: Parts, budget: int, calls_a_row: int) -> int:
    """Number of finalists that the reserved budget can validate."""
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
    """The best template within `budget` calls. `tell` receives a line for each step."""
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
    """Successive halving: candidates by rank, those tried on more rows first."""
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
    """The changes in words."""
    return "; ".join(f"{move.dimension} ({move.about})" for move in moves) or "as it was"


class Purse:
    """Remaining calls; those of a part are subtracted from the whole too."""

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
    """The best finalist by validation, or the original if none is better; then test both."""
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
    """Number of rows on which `share` calls can try the candidates, more than in the round before."""
    least = min(len(rows), upto + 1 if upto else FIRST_ROWS)

    def cost(count: int) -> int:
        return sum(judge.cost(one.template, rows[:count]) for one in candidates)

    return least + bisect_right(range(least + 1, len(rows) + 1), share, key=cost)


def _together(tried: Sequence[Tried]) -> list[list[Move]]:
    """Combinations of the two best moves of each dimension, by their rank."""
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
    """Distinct valid templates made by the moves."""
    found: dict[str, Candidate] = {}
    for moves in several:
        made = applied(template, moves)
        if made is not None:
            found.setdefault(made.hash, Candidate(made, tuple(moves)))
    return list(found.values())


def _mixed(moves: Sequence[Move], random: Random) -> list[Move]:
    """Moves of each dimension in turn, so that a small budget tries all dimensions."""
    return [moves[at] for at in in_turn([move.dimension for move in moves], random)]


def _tried(candidate: Candidate, judged: Sequence[Judged]) -> Tried:
    count = len(judged)
    return Tried(candidate, sum(one.value for one in judged) / count, sum(one.fine for one in judged) / count, count)


def _best(tried: Iterable[Tried]) -> list[Tried]:
    """Candidates by score, each with the trial on most rows. Means are shrunk towards the overall mean, the more the
    fewer rows they are of.
    """
    most: dict[str, Tried] = {}
    for one in tried:
        known = most.get(one.candidate.template.hash)
        most[one.candidate.template.hash] = one if known is None or one.rows > known.rows else known
    middle = sum(one.value + one.fine for one in most.values()) / max(1, len(most))

    def shrunk(one: Tried) -> float:
        return (one.rows * (one.value + one.fine) + FIRST_ROWS * middle) / (one.rows + FIRST_ROWS)

    return sorted(most.values(), key=shrunk, reverse=True)
