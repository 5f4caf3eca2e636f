"""Reasoning before an answer: split it off, read the answer, vote over several answers.

Voting over sampled answers is self-consistency (Wang et al. 2022, arXiv:2203.11171).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from prompts.filters import normalised

OPEN, CLOSE = "<think>", "</think>"

MOST_VOTES = 64

RULE = r"(?i)(?:\banswer(?:\s+is\b)?|答案(?:是|为)?)[*_\s]*[:：]\s*(.+)|\banswer\s+is\s+(.+)|答案(?:是|为)\s*(.+)"
"""Default rule: the text after "Answer:" or "the answer is", to the end of the line."""


@dataclass(frozen=True)
class Reasoning:
    """`reasoning` of a template: `votes` answers are generated after reasoning, and read by the rule `answer`.

    `answer` is a regular expression, whose first matching group is the answer; the last match in a reply counts.
    Empty: `RULE`, or the last line if that doesn't match.
    """

    votes: int = 1
    answer: str = ""

    def read(self, reply: str) -> tuple[str, str]:
        """(text before the answer, the answer) of a reply; the answer is empty if the rule doesn't match."""
        thought, text, closed = split(reply)
        if not closed:
            return thought, ""
        found = list(re.finditer(self.answer or RULE, text))
        if found:
            start, answer = _matched(found[-1])
        elif self.answer or not text.strip():
            start, answer = len(text), ""
        else:
            start, answer = _last_line(text)
        return "\n".join(filter(None, [thought, text[:start].strip()])), _bare(answer)


def parse(value: object) -> Reasoning:
    """Parse `reasoning` of the front matter. Raises `ValueError` with a sentence."""
    if value is True:
        return Reasoning()
    if not isinstance(value, dict) or not set(value) <= {"votes", "answer"}:
        raise ValueError("reasoning must be true, or a table of votes: N and answer: a regular expression")
    votes, answer = value.get("votes", 1), value.get("answer", "")
    if not isinstance(votes, int) or isinstance(votes, bool) or not 1 <= votes <= MOST_VOTES:
        raise ValueError(f"votes is {votes!r}, but must be a number from 1 to {MOST_VOTES}")
    if not isinstance(answer, str):
        raise ValueError(f"answer is {answer!r}, but must be a regular expression in quotes")
    try:
        re.compile(answer)
    except re.error as error:
        raise ValueError(f"answer is no regular expression: {error}") from error
    return Reasoning(votes, answer)


def split(text: str) -> tuple[str, str, bool]:
    """(reasoning, answer, whether the reasoning has ended).

    Reasoning is at the start of a reply. Some chat templates open the tag themselves, so that a reply may contain
    only the closing tag.
    """
    start = text.lstrip()
    if start.startswith(OPEN):
        reasoning, closed, rest = start[len(OPEN) :].partition(CLOSE)
    elif CLOSE in text:
        reasoning, closed, rest = text.partition(CLOSE)
    else:
        return "", text, True
    return reasoning.strip(), rest.lstrip(), bool(closed)


def answer(text: str) -> str:
    """The reply without its reasoning."""
    return split(text)[1]


def shares(answers: Sequence[str]) -> dict[str, float]:
    """Answer -> its share of all, the most frequent first, ties in the given order.

    Answers that differ only in case, width or space are the same; empty answers don't count, and the shares add up to
    less than 1 then.
    """
    said: dict[str, list[str]] = {}
    for one in answers:
        if one:
            said.setdefault(normalised(one), []).append(one)
    return {some[0]: len(some) / len(answers) for some in sorted(said.values(), key=len, reverse=True)}


def _matched(match: re.Match[str]) -> tuple[int, str]:
    """(start, text) of the first group that matched, or of the whole match."""
    group = next((number for number, text in enumerate(match.groups(), 1) if text is not None), 0)
    return match.start(group), match[group]


def _last_line(text: str) -> tuple[int, str]:
    text = text.rstrip()
    return text.rfind("\n") + 1, text[text.rfind("\n") + 1 :]


def _bare(answer: str) -> str:
    """The answer without surrounding Markdown marks, quotes and full stop."""
    return answer.strip().strip("*_`\"'“”").rstrip(".。").strip("*_`\"'“” ")
