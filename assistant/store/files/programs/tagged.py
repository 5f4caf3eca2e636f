"""Blocks between two tags in a text, in one pass: a regular expression could take quadratic time."""

from collections.abc import Callable


def replaced(text: str, opening: str, closing: str, inside: Callable[[str], str]) -> str:
    """The text with each block from `opening` to the next `closing` put through `inside`, which gets what is between.

    A block that nothing closes stays as it is.
    """
    pieces = []
    at = 0
    while (start := text.find(opening, at)) != -1 and (end := text.find(closing, start)) != -1:
        pieces += [text[at:start], inside(text[start + len(opening) : end])]
        at = end + len(closing)
    return "".join([*pieces, text[at:]])
