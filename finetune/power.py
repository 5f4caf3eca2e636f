"""How many conversations it takes to tell a change of the perplexity from chance: a power estimate, without torch.

The 95 % interval of a difference reaches 1.96 standard errors to each side, and a standard error is the spread between
conversations over the square root of their number. A change is shown in half of the cases where the interval reaches as
far as the change is large. docs/how-many.md has the measurements behind the constants.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from finetune.split import FEWEST_TO_TEST, tested_of

CHANGE = 0.1
"""Fall of the perplexity that is to be shown."""
Z = 1.96
"""Standard errors to each side of a 95 % interval."""
FLOOR, SLOPE = 0.2, 1.0
"""The usual spread between conversations of a difference, in nats a token: the root of FLOOR² + (SLOPE · difference)².
"""
PRIOR_CONVERSATIONS = 10
"""So many test conversations of the log weigh as much as the usual spread."""
MOST_CONVERSATIONS = 10**9


@dataclass(frozen=True, slots=True)
class Estimate:
    """What so many conversations with so many replies can show. `spread`: of this log, where 1 is usual."""

    conversations: int
    replies: int
    spread: float
    tested: int = 0
    """Conversations among them that an earlier dataset has in its test part."""
    what: str = "rated replies"
    """What there can be more of."""

    @property
    def more_replies(self) -> int:
        """Replies until a fall by CHANGE is shown; 0 where it is by now."""
        needed = to_test(self.spread)
        if self._groups >= needed:
            return 0
        each = self.replies / self.conversations if self.conversations else 1.0
        return math.ceil((to_judge(needed) - self.conversations) * each)

    @property
    def change(self) -> float:
        """The smallest fall of the perplexity that is shown, as a share; 1 where none is."""
        return smallest(self.spread, self._groups)

    @property
    def _groups(self) -> int:
        return max(self.tested, tested_of(self.conversations)) if self.conversations else 0

    @property
    def sentence(self) -> str:
        """`about 40 more rated replies until a 10 % change can be told from chance`."""
        if more := self.more_replies:
            return (
                f"about {rounded(more):,} more {self.what} until a {100 * CHANGE:.0f} % change can be told from chance"
            )
        return f"enough to tell a {math.ceil(100 * self.change)} % change from chance"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        more, change = self.more_replies, self.change
        return {
            "conversations": self.conversations,
            "replies": self.replies,
            "more_replies": more,
            "smallest_change": round(change, 4),
        }


def spread_of(measures: Iterable[Mapping[str, Any]]) -> float:
    """The spread of a log, where 1 is usual, by perplexity measures of its evaluations with `difference`, `low`, `high`
    and `groups`. The usual spread takes part as PRIOR_CONVERSATIONS.
    """
    total, conversations = float(PRIOR_CONVERSATIONS), PRIOR_CONVERSATIONS
    for one in measures:
        groups = one["groups"]
        if groups > 1:  # a single conversation has no spread
            total += groups * (_spread(one) / _usual(math.log1p(one["difference"]))) ** 2
            conversations += groups
    return math.sqrt(total / conversations)


def _spread(one: Mapping[str, Any]) -> float:
    """Standard deviation between conversations, in nats a token, that a bootstrap interval comes from."""
    width = math.log1p(one["high"]) - math.log1p(one["low"])
    groups: int = one["groups"]
    return width / 2 / Z * groups / math.sqrt(groups - 1)


def _usual(difference: float) -> float:
    return math.hypot(FLOOR, SLOPE * difference)


def to_test(spread: float, change: float = CHANGE) -> int:
    """Test conversations until a fall of the perplexity by this share is shown."""
    difference = -math.log1p(-change)
    return max(FEWEST_TO_TEST, math.ceil((Z * spread * _usual(difference) / difference) ** 2))


def to_judge(tests: int) -> int:
    """Conversations of which the split puts so many into the test part."""
    return bisect_left(range(MOST_CONVERSATIONS), tests, lo=1, key=tested_of)


def smallest(spread: float, groups: int) -> float:
    """The smallest fall, as a share, that so many test conversations show; 1 where they show none."""
    if groups < FEWEST_TO_TEST:
        return 1.0
    errors = Z * spread / math.sqrt(groups)
    left = 1 - (errors * SLOPE) ** 2
    return -math.expm1(-errors * FLOOR / math.sqrt(left)) if left > 0 else 1.0


def rounded(count: int) -> int:
    """To as many digits as an estimate is worth: 7, 35, 120, 1,300."""
    step = 1 if count < 10 else 5 if count < 100 else 10 ** (len(str(count)) - 2)
    return -(-count // step) * step
