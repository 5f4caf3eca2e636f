"""Shift: whether new conversations use other words, or are about other topics, than the dataset.

Words are separated by spaces and punctuation; in Chinese and Japanese, which have no spaces, each pair of neighbouring
characters counts as a word: most words there have two characters, and hardly any single character is new.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from assistant.store.database import select
from assistant.store.meaning.vectors import Vectors, file_of
from assistant.store.schema.words import CJK, CJK_RUN
from assistant.store.training.datasets import StoredExample
from finetune.data.dataset import CANARY, REPLAY, text_of
from finetune.data.split import words_of
from finetune.watch.new_in_log import LOG, NewInLog
from finetune.watch.two_samples import Change, Distance, Sample, change, distance

TOLD_WORDS = 8
"""Most new words to list, the most frequent first."""
COMMON = 2
"""Fewest conversations that use a new word for it to be listed."""

_WORD = re.compile(f"[{CJK}]+|[^\\W_{CJK}]+")


@dataclass(frozen=True, slots=True)
class Shift:
    """`unknown`: share of words that don't occur in the training part, compared with that of the held-out parts.

    `words`: Jensen-Shannon divergence of new conversations from the dataset, in bits. `topics`: one minus the cosine of
    the mean embeddings; None if either side isn't in the index of search by meaning.
    """

    unknown: Change | None
    words: Distance | None
    topics: Distance | None
    new_words: Sequence[str] = ()

    @property
    def shown(self) -> bool:
        """Whether any figure shows that new conversations differ."""
        return (
            (self.unknown is not None and self.unknown.verdict == "higher")
            or (self.words is not None and self.words.verdict == "other")
            or (self.topics is not None and self.topics.verdict == "other")
        )

    def as_json(self) -> dict[str, Any]:
        """The shift as plain JSON."""
        parts = {"unknown": self.unknown, "words": self.words, "topics": self.topics}
        told = {name: None if one is None else one.as_json() for name, one in parts.items()}
        return {**told, "new_words": list(self.new_words), "shown": self.shown}


def shift(db: Database, held: Sequence[StoredExample], fresh: NewInLog, seed: int = 0) -> Shift:
    """Compare new conversations with a dataset, without its replayed text and canaries."""
    said = [one for one in held if one.conversation not in (REPLAY, CANARY)]
    kept = [(one.group_id, words(text_of(one)), one.split != "train") for one in said]
    texts = [one.said or words_of(one.example) for one in fresh.candidates]
    new = [(group, words(text)) for group, text in zip(fresh.groups, texts, strict=True)]
    vocabulary = {word for _, some, apart in kept if not apart for word in some}
    return Shift(
        _unknown([(group, some) for group, some, apart in kept if apart], new, vocabulary, seed),
        _divergence([(group, some) for group, some, _ in kept], new, seed),
        _topics(db, said, fresh, seed),
        _new_words(new, {word for _, some, _ in kept for word in some}),
    )


def words(text: str) -> Counter[str]:
    """Word counts of a text, in lower case and NFKC form."""
    return Counter(_words(text))


def _words(text: str) -> Iterator[str]:
    for run in _WORD.findall(unicodedata.normalize("NFKC", text).lower()):
        if len(run) > 1 and CJK_RUN.match(run):
            yield from (one + other for one, other in pairwise(run))
        else:
            yield run


_Said = Sequence[tuple[int, Counter[str]]]
"""(group number, word counts) of each example."""


def _unknown(apart: _Said, new: _Said, vocabulary: set[str], seed: int) -> Change | None:
    def sample(said: _Said) -> Sample:
        counted = [(group, some) for group, some in said if some]
        unknown = [sum(count for word, count in some.items() if word not in vocabulary) for _, some in counted]
        return Sample(unknown, [some.total() for _, some in counted], [group for group, _ in counted])

    sides = sample(apart), sample(new)
    return change(*sides, seed=seed) if all(one.sums for one in sides) and vocabulary else None


def _divergence(known: _Said, new: _Said, seed: int) -> Distance | None:
    from scipy.sparse import csr_array
    from scipy.spatial.distance import jensenshannon

    sides = [_by_group(known), _by_group(new)]
    if not all(sides):
        return None
    # Small samples diverge more by chance: so at most the median number of words counts for each conversation.
    usual = min(int(np.median([one.total() for one in side])) for side in sides)
    drawn = np.random.default_rng(seed)
    groups = [_some(one, usual, drawn) for side in sides for one in side]
    places = {word: place for place, word in enumerate(dict.fromkeys(word for one in groups for word in one))}
    counts = [count for one in groups for count in one.values()]
    columns = [places[word] for one in groups for word in one]
    starts = np.cumsum([0, *map(len, groups)])
    table = csr_array((np.array(counts, dtype=float), columns, starts), shape=(len(groups), len(places)))
    total = table.sum(axis=0)

    def divergence(marks: NDArray[np.bool_]) -> float:
        here = marks.astype(float) @ table
        return float(jensenshannon(here, total - here, base=2) ** 2)

    return distance(divergence, len(sides[0]), len(sides[1]), seed)


def _by_group(said: _Said) -> list[Counter[str]]:
    found: dict[int, Counter[str]] = {}
    for group, some in said:
        found.setdefault(group, Counter()).update(some)
    return [one for one in found.values() if one]


def _some(counted: Counter[str], most: int, drawn: np.random.Generator) -> Counter[str]:
    """At most `most` of the words, drawn without replacement."""
    if counted.total() <= most:
        return counted
    taken = drawn.multivariate_hypergeometric(list(counted.values()), most)
    return +Counter(dict(zip(counted, taken.tolist(), strict=True)))


def _new_words(new: _Said, known: set[str]) -> list[str]:
    """Words that several conversations use and no example of the dataset."""
    saying = Counter(word for some in _by_group(new) for word in some if word not in known)
    return [word for word, count in saying.most_common(TOLD_WORDS) if count >= COMMON and not word.isdecimal()]


# -- topics -------------------------------------------------------------------------------------------------------


def _topics(db: Database, known: Sequence[StoredExample], fresh: NewInLog, seed: int) -> Distance | None:
    file = file_of(db)
    if file is None or not file.exists():
        return None
    new = dict(zip((one.conversation for one in fresh.candidates), fresh.groups, strict=True))
    sides = {one.conversation: one.group_id for one in known}, new
    with closing(Vectors(file)) as vectors:
        means = [_means(db, vectors, groups) for groups in sides]
    if not all(map(len, means)) or means[0].shape[1] != means[1].shape[1]:
        return None
    table = np.concatenate(means)

    def apart(marks: NDArray[np.bool_]) -> float:
        one, other = table[marks].mean(axis=0), table[~marks].mean(axis=0)
        return float(1 - one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    return distance(apart, len(means[0]), len(means[1]), seed)


def _means(db: Database, vectors: Vectors, group_of: Mapping[str, int]) -> NDArray[np.float64]:
    """Mean unit embeddings (groups, D) of the messages of each group that has any."""
    owner = dict[int, int]()
    for conversation, group in group_of.items():
        if conversation.startswith(LOG):
            id_ = int(conversation.removeprefix(LOG))
            owner |= dict.fromkeys(
                (row[0] for row in select(db, "SELECT id FROM messages WHERE conversation_id = ?", (id_,))), group
            )
    found: dict[int, list[NDArray[np.float64]]] = {}
    for message_id, numbers in vectors.of_messages(sorted(owner)):
        found.setdefault(owner[message_id], []).append(numbers / (np.linalg.norm(numbers.astype(float)) or 1.0))
    return np.array([np.mean(some, axis=0) for some in found.values()])
