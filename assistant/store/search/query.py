"""What a person types into the search line, as a query for the index and as marks in a text. No input is an error.

All words must occur, in any order. "Quotes" hold a phrase together, a - before excludes, OR between two is a choice.
Anything else that SQLite's query language has is taken as text.
"""

import re
import unicodedata
from dataclasses import dataclass

from assistant.store.schema.words import CJK, words

PREFIX_CHARACTERS = 3
"""From so many letters on, the last word is also found where a word goes on: the index has the beginnings of words."""

WORDS_SEARCHED = 32
"""More words than these are left out: each costs time, and a pasted page finds nothing else."""

_TERM = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<phrase>[^"]*)(?:"|$)|(?P<word>[^\s"]+))')
_WORD_OF_INDEX = re.compile(f"[{CJK}]|[^\\W_{CJK}]+")

Fragment = tuple[str, bool]
"""A piece of a text, and whether it is a hit."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word or phrase as the index's words. `begins`: the last of them may go on."""

    said: tuple[str, ...]
    begins: bool = False
    excluded: bool = False
    or_: bool = False
    """An alternative to the term before."""


def terms(typed: str, *, as_typed: bool = True) -> list[Term]:
    """The terms of a search line; empty where it has no word. `as_typed`: the last word may not be finished."""
    found: list[Term] = []
    either = False
    for match in _TERM.finditer(typed.replace("\0", " ")):
        if match["word"] == "OR" and not match["minus"]:
            either = bool(found)
            continue
        said = tuple(index_words(match["word"] or match["phrase"] or ""))[:WORDS_SEARCHED]
        if said:
            last = as_typed and match["word"] is not None and match.end() == len(typed)
            begins = last and len(said[-1]) >= PREFIX_CHARACTERS
            found.append(Term(said, begins, match["minus"] is not None, either))
        either = False
    found = found[:WORDS_SEARCHED]
    if all(term.excluded for term in found):  # nothing to exclude from: they are meant as they stand
        found = [Term(term.said, term.begins) for term in found]
    return found


def index_words(text: str) -> list[str]:
    """The words of a text as the index has them, case and accents left: each Chinese character is one."""
    return _WORD_OF_INDEX.findall(words(text))


def match_expression(found: list[Term]) -> str:
    """The terms in the query language of FTS5 (https://sqlite.org/fts5.html#full_text_query_syntax), each quoted."""
    groups: list[list[str]] = []
    for term in found:
        if term.excluded:
            continue
        text = f'"{" ".join(term.said)}"' + ("*" if term.begins else "")
        if term.or_ and groups:
            groups[-1].append(text)
        else:
            groups.append([text])
    wanted = " AND ".join(f"({' OR '.join(group)})" for group in groups)
    unwanted = [f'"{" ".join(term.said)}"' for term in found if term.excluded]
    return f"({wanted}) NOT ({' OR '.join(unwanted)})" if unwanted else wanted


def snippet(text: str, found: list[Term], *, characters: int = 120) -> list[Fragment]:
    """About `characters` of `text` around its first hit, line ends made spaces, the hits marked."""
    text = text[:MARKED_CHARACTERS]
    hits = marks(text, found)
    start = max(0, hits[0][0] - characters // 3) if hits else 0
    if start:  # begin at a word, where one begins near
        space = text.find(" ", start, hits[0][0])
        start = space + 1 if 0 <= space - start < 16 else start
    end = min(len(text), start + characters)
    fragments: list[Fragment] = [("…", False)] if start else []
    at = start
    for first, last in hits:
        if first >= end:
            break
        fragments += [(text[at:first], False), (text[first:last], True)]
        at = last
    fragments += [(text[at:end], False), ("…" if max(at, end) < len(text) else "", False)]
    return [(" ".join(piece.splitlines()), is_hit) for piece, is_hit in fragments if piece]


MARKED_CHARACTERS = 100_000
"""So much of a text is looked through for hits to mark."""


def marks(text: str, found: list[Term]) -> list[tuple[int, int]]:
    """Where the terms stand in `text`, first and one past last character, in order and apart."""
    patterns = [_pattern(term) for term in found if not term.excluded]
    if not patterns:
        return []
    return [match.span() for match in re.finditer("|".join(patterns), _folded(text))]


def _pattern(term: Term) -> str:
    said = [re.escape(_folded(word)) for word in term.said]
    before = "" if _is_cjk(term.said[0]) else r"(?<![^\W_])"
    after = "" if term.begins or _is_cjk(term.said[-1]) else r"(?![^\W_])"
    return before + r"[\W_]*".join(said) + (r"[^\W_]*" if term.begins else "") + after


def _is_cjk(word: str) -> bool:
    return re.match(f"[{CJK}]", word) is not None


def _folded(text: str) -> str:
    """As the index compares: without case, accents and width, character for character."""
    return text.lower() if text.isascii() else text.translate(_PLAIN)


class _Plain(dict[int, str]):
    """Character -> what it is compared as, worked out once for each."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        plain = character.lower() if code < 128 else unicodedata.normalize("NFKD", character)[0].lower()
        self[code] = plain if len(plain) == 1 else character
        return self[code]


_PLAIN = _Plain()
