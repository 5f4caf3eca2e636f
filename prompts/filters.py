"""Filters that a template applies to an input before it is rendered.

    filters:
      input: [html, control, nfc, whitespace, {tokens: 400}]

`normalised` is not a filter: it serves to compare texts.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser

Cut = Callable[[str, int], str]
"""(text, tokens) -> the text cut to at most so many tokens of a model."""


@dataclass(frozen=True)
class Filters:
    """Filters of one input, in order. `tokens`: length limit, applied last; 0: none."""

    names: tuple[str, ...] = ()
    tokens: int = 0

    def apply(self, text: str) -> str:
        """The text after all filters except `tokens`, which needs a model."""
        for name in self.names:
            text = FILTERS[name](text)
        return text


def parse(value: object) -> dict[str, Filters]:
    """Parse `filters` of the front matter: input -> filters. Raises `ValueError` with a sentence."""
    if not isinstance(value, dict):
        raise ValueError("filters must be a table of input: [filters]")
    return {str(name): _parse_one(name, some) for name, some in value.items()}


def _parse_one(name: object, some: object) -> Filters:
    if not isinstance(some, list):
        raise ValueError(f"the filters of {name} must be a list")
    tokens, names = 0, list(some)
    if names and isinstance(names[-1], dict):
        last = names.pop()
        tokens = last.get("tokens", 0)
        if set(last) != {"tokens"} or not isinstance(tokens, int) or tokens < 1:
            raise ValueError(f"the last filter of {name} is {last}, but can only be {{tokens: N}}, N from 1")
    for one in names:
        if isinstance(one, dict):
            raise ValueError(f"{one} must be the last filter of {name}")
        if not isinstance(one, str) or one not in FILTERS:
            raise ValueError(f"{one!r} is no filter; known are {', '.join(FILTERS)} and {{tokens: N}}")
    return Filters(tuple(names), tokens)


def control(text: str) -> str:
    """Remove control characters, byte order marks and bidirectional controls; use Unix line ends."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(one for one in lines if one in "\n\t" or (unicodedata.category(one) != "Cc" and one not in TURNS))


def whitespace(text: str) -> str:
    """Collapse spaces and empty lines; strip lines and the text."""
    lines = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def half_width(text: str) -> str:
    """Replace full-width forms by ASCII: ＡＢＣ１２３！ -> ABC123!"""
    return text.translate(NARROW)


def full_width(text: str) -> str:
    """Replace ASCII by full-width forms."""
    return text.translate(WIDE)


def html(text: str) -> str:
    """Text of an HTML page or fragment, a line for each block, without scripts and styles."""
    reader = _Html()
    reader.feed(text)
    reader.close()
    return whitespace("".join(reader.pieces))


def normalised(text: str) -> str:
    """The text in a form for comparison, without width, case, white space and invisible characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(one for one in folded if not one.isspace() and unicodedata.category(one) != "Cf")


TURNS = {"\ufeff", *map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)])}
NARROW: Mapping[int, int] = {0x3000: 0x20} | {0xFEE0 + code: code for code in range(0x21, 0x7F)}
WIDE: Mapping[int, int] = {narrow: wide for wide, narrow in NARROW.items()}

FILTERS: dict[str, Callable[[str], str]] = {
    "control": control,
    "whitespace": whitespace,
    "nfc": lambda text: unicodedata.normalize("NFC", text),
    "nfkc": lambda text: unicodedata.normalize("NFKC", text),
    "half-width": half_width,
    "full-width": full_width,
    "html": html,
}


class _Html(HTMLParser):
    UNSEEN = ("script", "style", "template", "head")
    INLINE = ("a", "abbr", "b", "code", "del", "em", "font", "i", "ins", "mark", "q", "s", "small", "span", "strong",
              "sub", "sup", "time", "u", "wbr")  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._unseen = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if not self._unseen and tag in self.UNSEEN:
            self._unseen = tag
        self._block(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = ""
        self._block(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.pieces.append(re.sub(r"\s+", " ", data))

    def _block(self, tag: str) -> None:
        if tag not in self.INLINE:
            self.pieces.append("\t" if tag in ("td", "th") else "\n")
