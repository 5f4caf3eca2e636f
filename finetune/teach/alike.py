"""Whether two replies say the same: by the words that both have."""

from prompts.metrics import token_f1

RIGHT, SAME = 0.6, 0.5
"""Least F1 of the words of two texts, as in SQuAD; each Chinese character is a word."""


def is_right(correction: str, reply: str) -> bool:
    """Whether a reply says what the correction says."""
    return token_f1(correction, reply) >= RIGHT


def is_same(before: str, after: str) -> bool:
    """Whether a reply says what it said before."""
    return before == after or token_f1(before, after) >= SAME
