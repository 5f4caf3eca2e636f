"""Power estimate: how many conversations a gain in perplexity needs to be told from chance. Loads no torch.

The 95 % interval of a difference reaches 1.96 standard errors to each side, and a standard error is the spread between
conversations over the square root of their number. A gain is shown in half of the cases if the interval's half-width
equals the gain. The spread grows in proportion to the gain, and shrinks with the square root of the tokens learned from
a conversation. docs/how-many.md has the measurements behind the constants.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from finetune.data.split import FEWEST_TO_TEST, size_of_test

GAIN = 0.1
"""Relative fall of the perplexity that is to be shown."""
Z = 1.96
"""Standard errors to each side of a 95 % interval."""
SLOPE, FLOOR = 6.5, 0.03
"""The usual spread between conversations is SLOPE · √(difference² + FLOOR²) / √tokens, differences in nats a token."""
FEWEST_TOKENS = 20
"""Lowest number of tokens in that formula: shorter conversations don't have a wider spread."""
PRIOR_CONVERSATIONS = 10
"""Weight of the usual spread, in test conversations."""
TOKENS = 100
"""Tokens learned from a conversation if there is none to measure."""
MOST_CONVERSATIONS = 10**9


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a number of conversations and replies can show."""

    conversations: int
    replies: int
    tokens: float = TOKENS
    """Tokens learned from a conversation, the median."""
    spread: float = 1.0
    """Spread of this log relative to the usual spread."""
    tested: int = 0
    """Conversations among them that are in a test part already."""
    what: str = "rated replies"
    """What the user can add more of."""

    @property
    def more_replies(self) -> int:
        """Replies needed until GAIN is shown; 0 if there are enough."""
        needed = to_test(self.spread, self.tokens)
        if self._groups >= needed:
            return 0
        each = self.replies / self.conversations if self.conversations else 1.0
        return math.ceil((to_judge(needed) - self.conversations) * each)

    @property
    def _groups(self) -> int:
        return max(self.tested, size_of_test(self.conversations)) if self.conversations else 0

    @property
    def sentence(self) -> str:
        """`about 40 more rated replies to tell a 10 % gain from chance`.

        Smaller gains than GAIN are not promised: the spread was measured at gains from 8 % on (docs/how-many.md).
        """
        more = self.more_replies
        begin = f"about {rounded(more):,} more {self.what}" if more else "enough"
        return f"{begin} to tell a {100 * GAIN:.0f} % gain from chance"

    def as_json(self) -> dict[str, Any]:
        """The estimate as plain JSON."""
        return {
            "conversations": self.conversations,
            "replies": self.replies,
            "more_replies": self.more_replies,
            "words": self.sentence,
        }


def spread_of(reports: Iterable[Mapping[str, Any]]) -> float:
    """Spread of a log relative to the usual spread, from the reports of its evaluations (see `prove.prove`). The usual
    spread counts as PRIOR_CONVERSATIONS.
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
    """Standard deviation between conversations, in nats a token, derived from a bootstrap interval."""
    width, groups = math.log1p(one["high"]) - math.log1p(one["low"]), int(one["groups"])
    return width / 2 / Z * groups / math.sqrt(groups - 1)


def _usual(difference: float, tokens: float) -> float:
    """Usual spread of a difference, for conversations with `tokens` learned tokens; both in nats a token."""
    return _slope(tokens) * math.hypot(difference, FLOOR)


def _slope(tokens: float) -> float:
    return SLOPE / math.sqrt(max(FEWEST_TOKENS, tokens))


def to_test(spread: float, tokens: float, gain: float = GAIN) -> int:
    """Test conversations needed to show a relative fall of the perplexity by `gain`."""
    difference = -math.log1p(-gain)
    return max(FEWEST_TO_TEST, math.ceil((Z * spread * _usual(difference, tokens) / difference) ** 2))


def to_judge(tests: int) -> int:
    """Conversations needed for a test part of `tests`."""
    return bisect_left(range(MOST_CONVERSATIONS), tests, lo=1, key=size_of_test)


def rounded(count: int) -> int:
    """Round up to a sensible precision: 7, 35, 120, 1,300."""
    step = 1 if count < 10 else 5 if count < 100 else 10 ** (len(str(count)) - 2)
    return -(-count // step) * step
