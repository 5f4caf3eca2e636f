"""Drafts by prompt lookup: what followed the last tokens when they stood in the text before. Loads no torch.

Replies often repeat their prompt (names, code, quotations). A draft is checked by the model in one pass over the
weights, and what it would not have said itself is thrown away, so greedy output stays what it is. Saxena, "Prompt
Lookup Decoding", 2023, https://github.com/apoorvumang/prompt-lookup-decoding.
"""

from collections.abc import Sequence

NGRAM_TOKENS = 3
"""So many tokens must be the same before what followed them is drafted."""
LONGEST_DRAFT_TOKENS = 7
MEMORY = 0.9
"""Weight of what was measured before against the newest measurement."""


class PromptLookup:
    """The text so far, and where each of its n-grams stood last."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in ids:
            self.push(token)

    def push(self, token: int) -> None:
        """One more token of the text."""
        if len(self._ids) >= NGRAM_TOKENS:  # noted now that it is known what follows
            self._after[tuple(self._ids[-NGRAM_TOKENS:])] = len(self._ids)
        self._ids.append(token)

    def draft(self, most_tokens: int) -> list[int]:
        """What followed the last tokens before; empty where they are new."""
        start = self._after.get(tuple(self._ids[-NGRAM_TOKENS:]))
        return [] if start is None or most_tokens < 1 else self._ids[start : start + most_tokens]


class PassTimes:
    """What a forward pass over so many tokens takes on this machine: measured as replies are made."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def note(self, tokens: int, seconds: float) -> None:
        """A pass over so many tokens took so long. Other programs only ever make it slower."""
        before = self._seconds.get(tokens, seconds)
        self._seconds[tokens] = min(seconds, MEMORY * before + (1 - MEMORY) * seconds)

    def of(self, tokens: int) -> float:
        """Seconds. A size never measured counts as no slower than the next smaller one, so each is tried once."""
        known = [size for size in self._seconds if size <= tokens]
        return self._seconds[max(known)] if known else 0.0


class Drafts:
    """The drafts of one reply, as long as they pay."""

    def __init__(self, prompt: Sequence[int], times: PassTimes) -> None:
        self._lookup = PromptLookup(prompt)
        self._times = times
        self._right = 0.8
        """Share of drafted tokens that were right, given that those before them were; at first a guess."""

    def next(self, room_tokens: int) -> list[int]:
        """What may follow, at most so many tokens; empty where nothing is known or it would not pay."""
        return self._lookup.draft(min(room_tokens, self._longest()))

    def said(self, tokens: Sequence[int]) -> None:
        """The reply has gone on with these."""
        for token in tokens:
            self._lookup.push(token)

    def checked(self, drafted: int, right: int, seconds: float) -> None:
        """So many tokens of a draft were right, and finding out took so long."""
        self._times.note(drafted + 1, seconds)
        for index in range(min(drafted, right + 1)):
            self._right = MEMORY * self._right + (1 - MEMORY) * (index < right)

    def _longest(self) -> int:
        """Tokens of the draft that gives most tokens a second."""
        if not self._times.of(1):
            return 0
        return max(range(LONGEST_DRAFT_TOKENS + 1), key=lambda size: self._expected(size) / self._times.of(size + 1))

    def _expected(self, draft: int) -> float:
        """Tokens that a pass gives, the model's own one among them."""
        return sum(self._right**index for index in range(draft + 1))
