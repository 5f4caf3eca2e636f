"""What a model thinks between <think> tags at the start of a reply: folded, apart from the answer."""

from typing import NamedTuple

from textual.content import Content
from textual.style import Style

from assistant.tui.widgets.rows import Block, Row

OPEN, CLOSE = "<think>", "</think>"
_INDENT = Content("  ")
FOLD = Style.from_meta({"part": "reasoning"})
"""Marks the line that folds and unfolds when it is clicked."""


class Parts(NamedTuple):
    """A reply taken apart."""

    reasoning: str
    answer: str
    thinking: bool = False
    """The closing tag has not come yet."""


def split(text: str, *, growing: bool = False) -> Parts:
    """The reasoning and the answer of a reply. While it grows, half a tag is not shown."""
    body = text.lstrip()
    if not body.startswith(OPEN):
        return Parts("", "") if growing and OPEN.startswith(body) else Parts("", text)
    reasoning, closed, answer = body.removeprefix(OPEN).partition(CLOSE)
    if not closed and growing:
        reasoning = _without_half(reasoning, CLOSE)
    return Parts(reasoning.strip(), answer.lstrip(), thinking=not closed)


def _without_half(text: str, tag: str) -> str:
    """`text` without a first part of `tag` at its end."""
    return next((text[:-n] for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), text)


class Reasoning:
    """The blocks of the reasoning: one line that says how long it took, and the thoughts where they are unfolded."""

    def __init__(self) -> None:
        self.unfolded = False
        self.duration_s: float | None = None
        self._text = ""
        self._rows: list[Row] = []

    def update(self, text: str) -> None:
        """Show `text`; lines that did not change keep their layout."""
        kept = len(self._rows) - 1 if self._rows and text.startswith(self._text) else 0
        self._text = text
        self._rows[kept:] = [Row(Content.styled(line, ".quiet"), _INDENT, _INDENT) for line in text.split("\n")[kept:]]

    def blocks(self, *, thinking: bool) -> list[Block]:
        """The blocks to show, none where there was no reasoning."""
        if not self._text and not thinking:
            return []
        mark = "▾" if self.unfolded else "▸"
        label = Row(Content.styled(f"{mark} {self._label(thinking)}", ".quiet").stylize(FOLD))
        return [label, *(self._rows if self.unfolded else [])]

    def _label(self, thinking: bool) -> str:
        if thinking:
            return "thinking…"
        return "thought" if self.duration_s is None else f"thought for {self.duration_s:.1f} s"
