"""Token ids -> whole characters as they come, and stop strings that are never shown. Loads no torch."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

UNFINISHED = "\ufffd"
"""What a decoder makes of bytes that are no whole character (yet)."""


class TextStream:
    """Ids one by one -> text. All pieces together are what decoding all ids but the `hidden` ones at once gives; where
    that makes a whole run of bytes U+FFFD for one that is wrong, the characters before it stay.

    Only a window is decoded at each step: the ids since the piece before the last. That piece is there because the
    beginning of a text is special: SentencePiece leaves a space out.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], hidden: AbstractSet[int] = frozenset()) -> None:
        self._decode = decode
        self._hidden = hidden
        self._window: list[int] = []
        self._said_ids = 0
        """How many ids of the window have been said already."""

    def push(self, token_id: int) -> str:
        """The characters that `token_id` completes; empty while a character is incomplete."""
        if token_id in self._hidden:
            return ""
        self._window.append(token_id)
        text = self._decode(self._window)
        if text.endswith(UNFINISHED):
            return ""
        return self._say(text)

    def flush(self) -> str:
        """What is left at the end: bytes that never became a character, as U+FFFD."""
        return self._say(self._decode(self._window)) if self._window else ""

    def _say(self, text: str) -> str:
        said = self._decode(self._window[: self._said_ids]) if self._said_ids else ""
        new = text[len(said) :]
        if new:
            self._window = self._window[self._said_ids :]
            self._said_ids = len(self._window)
        return new


class StopStrings:
    """Text in, text out, up to the first of the stop strings. What may be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False
        """Whether a stop string came. Nothing is said after that."""

    def push(self, text: str) -> str:
        """What can be shown now."""
        if self.found:
            return ""
        self._held += text
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.found = True
            _, start = min(found)  # the one complete first, however the text was cut into pieces
            shown, self._held = self._held[:start], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """What was held back, when no more comes."""
        shown, self._held = self._held, ""
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop` without being all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
