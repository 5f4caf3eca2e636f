"""JSON as a stream: the values of a list, of a JSON Lines file, or written one after another, one in memory at a time.

The standard decoder reads each value at its own speed; what it can't read is stepped over by counting brackets, so
that one broken value doesn't cost the others. Where the file breaks off within a value, `BrokeOff` is the last one.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from assistant.errors import ImportRefused

CHUNK_CHARACTERS = 1 << 20
MOST_CHARACTERS = 1 << 26
"""The longest one value may be: 64 million characters, some hundred thousand pages."""

_SPACE = re.compile(r"[ \t\r\n]*")
_BRACKET_OR_TEXT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}"]', re.DOTALL)
_decode = json.JSONDecoder().raw_decode
_LAST_WORD = re.compile(r"(-?[A-Za-z]{0,8})\s*\Z")
_WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_EDGE_CHARACTERS = 16
"""A mistake so close to the end of what was read may be none: a word or an escape that goes on."""


@dataclass(frozen=True, slots=True)
class Broken:
    """In place of a value that could not be read."""

    reason: str
    at_end: bool = False
    """Whether more text could have made it whole."""


@dataclass(frozen=True, slots=True)
class BrokeOff:
    """In place of the rest of a file that ends within a value or a list: so many values before it are whole."""

    line: int
    whole: int


class _Window:
    """The part of a file that is being read, and the line it begins in."""

    def __init__(self, file: TextIO) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        self._file = file
        self._line = 1
        self._counted = 0

    @property
    def line(self) -> int:
        """The line of the next character, from 1."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def more(self) -> bool:
        """Read as much again as there is left, and forget what lies behind. False at the end of the file."""
        line = self.line
        rest = self.text[self.at :]
        if len(rest) > MOST_CHARACTERS:
            raise ImportRefused(
                f"Line {line}: one value is longer than {MOST_CHARACTERS:,} characters. Split the file."
            )
        read = self._file.read(max(CHUNK_CHARACTERS, len(rest)))
        self.text, self.at, self._counted, self.ended = rest + read, 0, 0, not read
        return bool(read)

    def next_character(self) -> str:
        """The next one that is no space, empty at the end; it is not taken."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""


def values(file: TextIO) -> Iterator[tuple[str, Any]]:
    """(place, value) for each value: of a top-level list its items, else the top-level values themselves.

    A value that can't be read comes as `Broken`, the end of a file that breaks off as `BrokeOff`. Raises
    `ImportRefused` where the rest of the file is lost with what is wrong.
    """
    window = _Window(file)
    if window.next_character() == "[" and not _a_list_a_line(window):
        window.at += 1
        yield from _items(window)
    else:
        yield from _lines(window)


def _a_list_a_line(window: _Window) -> bool:
    """Whether the file is JSON Lines of lists: the first line is a list that ends with it, and more follows."""
    try:
        _, end = _decode(window.text, window.at)
    except (ValueError, RecursionError):
        return False
    match = _SPACE.match(window.text, end)
    return match is not None and "\n" in match.group() and window.text[match.end() : match.end() + 1] == "["


def _items(window: _Window) -> Iterator[tuple[str, Any]]:
    number = whole = 0
    while (character := window.next_character()) != "]":
        if number and character:
            if character != ",":
                raise _no_json(window, "a comma is missing")
            window.at += 1
            if window.next_character() == "]":  # a comma too many harms nobody
                break
        if not window.next_character():
            yield _broke_off(window, whole)
            return
        number += 1
        line = window.line
        value = _value(window, list_item=True)
        if not isinstance(value, Broken):
            whole += 1
        elif window.ended and window.at == len(window.text):
            yield _broke_off(window, whole)
            return
        yield f"item {number} (line {line})" if line > 1 else f"item {number}", value
    window.at += 1
    if window.next_character():
        raise _no_json(window, "something follows the list")


def _broke_off(window: _Window, whole: int) -> tuple[str, BrokeOff]:
    return f"line {window.line}", BrokeOff(window.line, whole)


def _no_json(window: _Window, reason: str) -> ImportRefused:
    return ImportRefused(f"Line {window.line} is no JSON: {reason}. Nothing was imported.")


def _lines(window: _Window) -> Iterator[tuple[str, Any]]:
    whole = 0
    while window.next_character():
        place = f"line {window.line}"
        value = _value(window, list_item=False)
        if isinstance(value, Broken):
            if value.at_end and not _another_line_begins(window):
                yield place, BrokeOff(window.line, whole)
                return
            _skip_line(window)
        else:
            whole += 1
        yield place, value


def _another_line_begins(window: _Window) -> bool:
    """Whether the next line looks like a value of its own: then this line is broken, and not the end of the file."""
    end = window.text.find("\n", window.at)
    return end != -1 and window.text[end + 1 : end + 2] in ("{", "[")


def _skip_line(window: _Window) -> None:
    while (end := window.text.find("\n", window.at)) == -1:
        window.at = len(window.text)
        if not window.more():
            return
    window.at = end + 1


def _value(window: _Window, *, list_item: bool) -> Any:
    """The next value, taken, or `Broken`; of a list, the broken item is taken too."""
    while True:
        try:
            value, end = _decode(window.text, window.at)
        except json.JSONDecodeError as error:
            place = error.pos - window.at  # `more` moves the text
            if _may_go_on(error, window) and window.more():
                continue
            return _broken(window, error.msg.lower(), list_item, at_end=_is_cut(error, window, place))
        except RecursionError:
            return _broken(window, "it is nested too deeply", list_item)
        except ValueError:  # of Python's own: a number of thousands of digits
            return _broken(window, "it holds a number of too many digits", list_item)
        if end == len(window.text) and not window.ended:  # a number may go on
            window.more()
            continue
        window.at = end
        return value


def _may_go_on(error: json.JSONDecodeError, window: _Window) -> bool:
    at_edge = error.pos >= len(window.text) - _EDGE_CHARACTERS or error.msg.startswith("Unterminated string")
    return at_edge and not window.ended


def _is_cut(error: json.JSONDecodeError, window: _Window, place: int) -> bool:
    """Whether the value, wrong so many characters from its beginning, is so because the file ends in it."""
    if error.msg.startswith("Unterminated string"):  # a line's end in a text is another mistake
        return True
    rest = _LAST_WORD.match(window.text, window.at + place)
    return rest is not None and any(word.startswith(rest[1]) for word in _WORDS)


def _broken(window: _Window, reason: str, list_item: bool, *, at_end: bool = False) -> Broken:
    # A line that is too deep is skipped as a line; only a list item's end has to be found.
    if list_item and not _step_over(window):
        window.at = len(window.text)
    return Broken(reason, at_end)


def _step_over(window: _Window) -> bool:
    """Go behind the bracket that closes the next one. False where none does, up to the end of the file."""
    depth, seen = 0, 0  # `seen` counts from `window.at`, which stays
    while True:
        for match in _BRACKET_OR_TEXT.finditer(window.text, window.at + seen):
            token = match.group()
            if token == '"':  # a text that goes on beyond what was read
                break
            depth += (token in "[{") - (token in "]}")
            seen = match.end() - window.at
            if depth == 0:
                window.at = match.end()
                return True
            if depth < 0:  # the end of the list itself: the item was no object
                window.at = match.start()
                return True
        if not window.more():
            return False
