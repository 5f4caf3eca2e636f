"""How many conversations it takes to tell a gain in perplexity from chance: a power estimate, without torch.

The 95 % interval of a difference reaches 1.96 standard errors to each side, and a standard error is the spread between
conversations over the square root of their number. A gain is shown in half of the cases where the interval reaches as
far as the gain is large. The spread grows in proportion to the gain, and shrinks with the square root of the tokens
that are learned of a conversation. docs/how-many.md has the measurements behind the constants.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from finetune.data.split import FEWEST_TO_TEST, size_of_test

GAIN = 0.1
"""Fall of the perplexity that is to be shown."""
FINEST = 0.08
"""No smaller fall is promised: it is the smallest that was measured, and the spread below it is a guess (FLOOR)."""
Z = 1.96
"""Standard errors to each side of a 95 % interval."""
SLOPE, FLOOR = 6.5, 0.03
"""The usual spread between conversations is SLOPE · √(difference² + FLOOR²) / √tokens, differences in nats a token."""
FEWEST_TOKENS = 20
"""Of a conversation, in that: the spread of shorter ones is no wider."""
PRIOR_CONVERSATIONS = 10
"""So many test conversations of the log weigh as much as the usual spread."""
TOKENS = 100
"""Learned of a conversation, where there is none to count them of."""
MOST_CONVERSATIONS = 10**9


@dataclass(frozen=True, slots=True)
class Estimate:
    """What so many conversations with so many replies can show."""

    conversations: int
    replies: int
    tokens: float = TOKENS
    """Learned of a conversation, the median."""
    spread: float = 1.0
    """Of this log, as a multiple of the usual."""
    tested: int = 0
    """Conversations among them that an earlier dataset has in its test part."""
    what: str = "rated replies"
    """What there can be more of."""

    @property
    def more_replies(self) -> int:
        """Replies until GAIN is shown; 0 where it is by now."""
        needed = to_test(self.spread, self.tokens)
        if self._groups >= needed:
            return 0
        each = self.replies / self.conversations if self.conversations else 1.0
        return math.ceil((to_judge(needed) - self.conversations) * each)

    @property
    def gain(self) -> float:
        """The smallest fall of the perplexity that is shown, as a share, FINEST at least; 1 where none is."""
        return max(FINEST, smallest(self.spread, self.tokens, self._groups))

    @property
    def _groups(self) -> int:
        return max(self.tested, size_of_test(self.conversations)) if self.conversations else 0

    @property
    def sentence(self) -> str:
        """`about 40 more rated replies to tell a 10 % gain from chance`."""
        if more := self.more_replies:
            return f"about {rounded(more):,} more {self.what} to tell a {100 * GAIN:.0f} % gain from chance"
        return f"enough to tell a gain of {math.ceil(100 * self.gain)} % or more from chance"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "conversations": self.conversations,
            "replies": self.replies,
            "more_replies": self.more_replies,
            "smallest_gain": round(self.gain, 4),
            "words": self.sentence,
        }


def spread_of(reports: Iterable[Mapping[str, Any]]) -> float:
    """The spread of a log as a multiple of the usual, by the reports of its evaluations, as `prove.prove` makes
    them. The usual spread takes part as PRIOR_CONVERSATIONS.
    """
    total, conversations = float(PRIOR_CONVERSATIONS), PRIOR_CONVERSATIONS
    for report in reports:
        test = report["test"]
        for one in report["measures"]:
            groups = one["groups"]
            if one["main"] and one["key"] == "perplexity" and groups > 1:  # a single conversation has no spread
                tokens = test.get("median_tokens") or test["tokens"] / groups  # reports of earlier versions lack it
                usual = _usual(math.log1p(one["difference"]), tokens)
                total += groups * (_spread(one) / usual) ** 2
                conversations += groups
    return math.sqrt(total / conversations)


def _spread(one: Mapping[str, Any]) -> float:
    """Standard deviation between conversations, in nats a token, that a bootstrap interval comes from."""
    width, groups = math.log1p(one["high"]) - math.log1p(one["low"]), int(one["groups"])
    return width / 2 / Z * groups / math.sqrt(groups - 1)


def _usual(difference: float, tokens: float) -> float:
    """The usual spread of a difference between conversations of so many learned tokens, both in nats a token."""
    return _slope(tokens) * math.hypot(difference, FLOOR)


def _slope(tokens: float) -> float:
    return SLOPE / math.sqrt(max(FEWEST_TOKENS, tokens))


def to_test(spread: float, tokens: float, gain: float = GAIN) -> int:
    """Test conversations until a fall of the perplexity by this share is shown."""
    difference = -math.log1p(-gain)
    return max(FEWEST_TO_TEST, math.ceil((Z * spread * _usual(difference, tokens) / difference) ** 2))


def to_judge(tests: int) -> int:
    """Conversations of which the split puts so many into the test part."""
    return bisect_left(range(MOST_CONVERSATIONS), tests, lo=1, key=size_of_test)


def smallest(spread: float, tokens: float, groups: int) -> float:
    """The smallest fall, as a share, that so many test conversations show; 1 where they show none."""
    if groups < FEWEST_TO_TEST:
        return 1.0
    errors = Z * spread * _slope(tokens) / math.sqrt(groups)
    left = 1 - errors**2
    return -math.expm1(-errors * FLOOR / math.sqrt(left)) if left > 0 else 1.0


def rounded(count: int) -> int:
    """To as many digits as an estimate is worth: 7, 35, 120, 1,300."""
    step = 1 if count < 10 else 5 if count < 100 else 10 ** (len(str(count)) - 2)
    return -(-count // step) * step
