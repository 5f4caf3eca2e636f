"""All kinds together: every place is claimed once."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from assistant.redaction.hit import KINDS, Hit
from assistant.redaction.numbers import cards, ibans, ips, national_ids
from assistant.redaction.people import addresses, emails, names
from assistant.redaction.phones import phones
from assistant.redaction.secrets import secrets

_FINDERS: dict[str, Callable[[str], Iterator[Hit]]] = {
    "secret": secrets,
    "email": emails,
    "iban": ibans,
    "card": cards,
    "id": national_ids,
    "phone": phones,
    "ip": ips,
    "address": addresses,
    "name": names,
}
_DIGIT = re.compile(r"\d")
_SEVEN_DIGITS = re.compile(r"\d(?:[^\dA-Za-z]{0,3}\d){6}")
_NEED_DIGITS = ("iban", "id", "ip", "address")
_NEED_SEVEN = ("card", "phone")
"""What a text has none of is not looked for: most texts have no long number, and a third has a digit."""


def find(text: str, *, words: Sequence[str] = (), kinds: Collection[str] = KINDS) -> list[Hit]:
    """What personal data stands in a text, in order and apart. `words` are found as they are, in whatever case."""
    claimed: list[Hit] = []
    lacking = _lacking(text)
    for kind in KINDS:
        if kind not in kinds or kind in lacking:
            continue
        if found := list(_words(text, words) if kind == "word" else _FINDERS[kind](text)):
            claimed += _apart(found, claimed)
    return sorted(claimed, key=lambda hit: hit.start)


def _lacking(text: str) -> tuple[str, ...]:
    """The kinds that need more digits than the text has."""
    if not _DIGIT.search(text):
        return (*_NEED_DIGITS, *_NEED_SEVEN)
    return () if _SEVEN_DIGITS.search(text) else _NEED_SEVEN


def _apart(found: Iterable[Hit], claimed: Sequence[Hit]) -> list[Hit]:
    """Those that overlap none of `claimed`, nor one before them that is as long."""
    new: list[Hit] = []
    for hit in sorted(found, key=lambda hit: (hit.start - hit.end, hit.start)):
        if all(hit.end <= other.start or other.end <= hit.start for other in (*claimed, *new)):
            new.append(hit)
    return new


def _words(text: str, words: Sequence[str]) -> Iterator[Hit]:
    if pattern := _pattern(tuple(words)):
        for match in pattern.finditer(text):
            yield Hit("word", *match.span(), match[0], match[0].lower())


@lru_cache(maxsize=8)
def _pattern(words: tuple[str, ...]) -> "re.Pattern[str] | None":
    """Latin words whole, so that Ann isn't found in Annual; Chinese ones anywhere."""
    known = sorted({word.strip() for word in words} - {""}, key=len, reverse=True)
    if not known:
        return None
    return re.compile("|".join(map(_whole, known)), re.IGNORECASE)


def _whole(word: str) -> str:
    before = r"(?<![A-Za-z0-9_À-ɏ])" if re.match(r"[A-Za-z0-9_À-ɏ]", word) else ""
    after = r"(?![A-Za-z0-9_À-ɏ])" if re.search(r"[A-Za-z0-9_À-ɏ]$", word) else ""
    return before + re.escape(word) + after


def replaced(text: str, hits: Iterable[Hit], stand_in: Callable[[Hit], str]) -> str:
    """The text with `stand_in` for each of its hits, which are in order and apart."""
    pieces, at = [], 0
    for hit in hits:
        pieces += [text[at : hit.start], stand_in(hit)]
        at = hit.end
    return "".join([*pieces, text[at:]])
