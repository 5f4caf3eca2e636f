"""Text from a model or a file, made safe to show. Standard library only.

A terminal obeys control characters (C0, C1, and the escape sequences ANSI and OSC built on them): text we did not
write ourselves may not contain any when it reaches the screen. The log keeps the original.
"""

import re
import unicodedata

# An escape sequence whole (CSI, OSC, DCS and friends, two-byte ones), so that no "[31m" is left behind.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# The rest of C0 and C1, and the invisible characters that reorder text on screen (Unicode TR 36, section 3.1).
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]|[\ud800-\udfff]")


def printable(text: str, *, newlines: bool = True) -> str:
    """`text` without control characters. Newlines and tabs stay, or become single spaces with `newlines=False`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROLS.sub("", _SEQUENCES.sub("", text))
    return text if newlines else " ".join(text.split())


def cell_width(text: str) -> int:
    """Terminal cells that `text` takes: wide (East Asian) characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(c) or c in "\u200b\u200d\ufe0f"
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def shorten(text: str, cells: int) -> str:
    """`text` on one line, cut to `cells` terminal cells with an ellipsis where it is longer."""
    text = printable(text, newlines=False)
    if cell_width(text) <= cells:
        return text
    while text and cell_width(text) > cells - 1:
        text = text[: max(0, min(len(text) - 1, cells - 1))]
    return text.rstrip() + "…"
