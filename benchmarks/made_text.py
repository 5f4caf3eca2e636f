"""Generated text with the statistics of chats: Zipf's law for words and characters, lognormal lengths, two languages.

It has no meaning. It has what matters to an index: a few words in nearly every message, many in only one, and Chinese
without spaces, in words of mostly two characters.
"""

import numpy as np
from numpy.typing import NDArray

_ENGLISH = (
    "the of and to a in is you that it for on with as are this be your can or i have not from by an what we how if "
    "will which there their about would when they has one all more some use out time these other into do so like but "
    "up who them then my no make than could also any only its work first people two may new over such most way after "
    "function data code model value list string number example file write help need want please explain story"
)
_SYLLABLES = "ba be co da de en er fi ga in ka li lo ma mi no or pa pre ra re sa se sta ta te tion tri un ver vi"
COMMON = _ENGLISH.split()
SYLLABLES = _SYLLABLES.split()
LETTERS = (
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年"
    "得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然"
)


class MadeText:
    """Text generator. The same seed makes the same text."""

    def __init__(
        self, seed: int, vocabulary: int = 60_000, characters: int = 3_500, chinese_words: int = 25_000
    ) -> None:
        self.rng = np.random.default_rng(seed)
        rng = np.random.default_rng(20261124)  # the vocabulary doesn't depend on the seed
        made = ["".join(rng.choice(SYLLABLES, size)) for size in rng.integers(2, 6, vocabulary)]
        self.words = np.array([*COMMON, *dict.fromkeys(made)], dtype=object)
        self.words_until = zipf(len(self.words), 1.0, 2.7)
        letters = np.array([*LETTERS, *(chr(code) for code in range(0x4E00, 0x4E00 + characters))], dtype=object)
        letters_until = zipf(len(letters), 1.0, 10.0)
        picked = letters[np.searchsorted(letters_until, rng.random((chinese_words, 2)))]
        singles = [*LETTERS[:40]]
        self.chinese = np.array([*singles, *dict.fromkeys(map("".join, picked))], dtype=object)
        self.chinese_until = zipf(len(self.chinese), 1.0, 5.0)

    def say(self, median_characters: float, *, chinese: bool) -> str:
        """A message of about that length, lognormal (sigma 0.9), with sentences and lines."""
        length = float(np.clip(self.rng.lognormal(np.log(median_characters), 0.9), 8, 20_000))
        return self._chinese(length * 0.35) if chinese else self._english(length)

    def _english(self, characters: float) -> str:
        count = max(2, round(characters / 5.2))
        words = self.words[np.searchsorted(self.words_until, self.rng.random(count))].tolist()
        for at in range(11, count, 14):
            words[at] += ".\n" if at % 4 == 1 else "."
        return " ".join(words)

    def _chinese(self, characters: float) -> str:
        count = max(2, round(characters / 1.8))
        words = self.chinese[np.searchsorted(self.chinese_until, self.rng.random(count))].tolist()
        for at in range(7, count, 9):
            words[at] += "。" if at % 2 else ","
        return "".join(words)


def zipf(count: int, exponent: float, shift: float) -> NDArray[np.float64]:
    """Cumulative probabilities of ranks by Zipf and Mandelbrot: 1 / (rank + shift) ** exponent."""
    weights = 1.0 / (np.arange(1, count + 1) + shift) ** exponent
    cumulated: NDArray[np.float64] = np.cumsum(weights / weights.sum())
    return cumulated
