"""Text as the index of words takes it: Chinese and Japanese characters stand alone, everything else as it is.

SQLite's `unicode61` tokeniser cuts at spaces and punctuation, so that a Chinese sentence would be one word. With spaces
between its characters each is a word, and a word of two is a phrase of two: found wherever it stands, without a
dictionary, and at half the size of an index of pairs (measured: 0.6 against 1.1 bytes a byte of Chinese text).

The index is contentless: to take a text out it needs the very words that it took in. So a change here needs a migration
that builds the index again.
"""

import re
import unicodedata

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Han, Hiragana and Katakana, inside a regular expression's brackets. Korean puts spaces between its words."""

CJK_RUN = re.compile(f"[{CJK}]+")


_BETWEEN_WORDS = re.compile(r"[\W_]+")


def words(text: str) -> str:
    """`text` with a space around each Chinese or Japanese character and full-width letters made plain.

    What is no letter or digit to Python becomes a space, so that a query is cut where the text was.
    """
    if text.isascii():
        return text.replace("\0", " ")
    return CJK_RUN.sub(_apart, _BETWEEN_WORDS.sub(" ", unicodedata.normalize("NFKC", text)))


def _apart(run: re.Match[str]) -> str:
    return f" {' '.join(run[0])} "
