"""Measure again the test parts of the datasets behind an adapter, so that earlier skills aren't lost unnoticed.

Each is measured under the base, under the adapter that the training started from, and under the new adapter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from assistant.adapters.folder import trouble
from assistant.paths import Paths
from assistant.store.training import datasets
from assistant.store.training.datasets import Dataset, StoredExample
from finetune.data.dataset import CANARY, REPLAY
from finetune.data.example import Example
from finetune.data.lessons import Lessons
from finetune.data.tokens import Row, Tokenizer, sampled, tokens_of
from finetune.lineage.lineage import Start
from finetune.network.both import Both, Sums
from finetune.prove.measures import measured, rows_of_test
from finetune.prove.paired import Measure

MOST_TOKENS, FEWEST_TOKENS = 24_000, 2_000
"""Tokens sampled from the test parts of all earlier datasets, and at least from each."""
TIMES = 3
"""How often each token is read: under the base and both adapters."""


@dataclass(frozen=True, slots=True)
class Part:
    """A sample of one part of an earlier dataset."""

    dataset: Dataset
    test: Lessons
    groups: Sequence[int]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The earlier datasets to measure. `deleted`: names of those that were deleted."""

    start: Start
    folder: Path
    trouble: str
    """Why the starting adapter can't be measured, as a sentence; empty if it can."""
    parts: Sequence[Part] = ()
    deleted: Sequence[str] = ()
    trained: frozenset[str] = field(default=frozenset())
    """Hashes and conversation keys of examples that were learned earlier."""

    @classmethod
    def read(cls, db: Database, paths: Paths, start: Start, tokenizer: Tokenizer, seed: int) -> "Earlier":
        """Read the datasets behind a run; those of kind entities are left out, as they need another head."""
        behind, deleted = start.behind(db)
        behind = [one for one in behind if one.kind != "entities"]
        most = max(FEWEST_TOKENS, MOST_TOKENS // max(1, len(behind)))
        parts = [part(db, one, tokenizer, most, seed) for one in behind]
        folder = paths.adapters / start.adapter
        return cls(
            start,
            folder,
            trouble(folder, start.sha256),
            [one for one in parts if any(one.test.items)],
            deleted,
            frozenset(known for one in behind for known in _known(db, one)),
        )

    @property
    def tokens(self) -> int:
        """Number of tokens to read."""
        return TIMES * sum(tokens_of(one.test.items) for one in self.parts)

    def holds(self, one: StoredExample) -> bool:
        """Whether an example, or an earlier state of its conversation, was learned before."""
        return one.hash in self.trained or one.conversation in self.trained

    def asked(self, both: Both, seed: int) -> dict[str, Any]:
        """The report's section on earlier datasets, as plain JSON. `measures`: as for the test part, with the
        difference from the adapter named `since`; `against_base`: the difference from the base.
        """
        answers = [both.sums(one.test.items) for one in self.parts]
        before: list[Sums | None] = [None] * len(answers)
        if not self.trouble:
            with both.with_adapter(self.folder):
                before = [both.adapted(one.test.items) for one in self.parts]
        measures = [
            found
            for asked, (base, now), then in zip(self.parts, answers, before, strict=True)
            if (found := _measure(asked, base, now, then, self.start.adapter, seed))
        ]
        return {"start": self.start.adapter, "measures": measures, "deleted": self.deleted, "trouble": self.trouble}


def part(
    db: Database, dataset: Dataset, tokenizer: Tokenizer, most_tokens: int, seed: int, split: str = "test"
) -> Part:
    """A sample of a part of a dataset, with at most `most_tokens` tokens."""
    stored = list(datasets.examples(db, dataset.id, split))
    if not stored:
        return Part(dataset, Lessons("supervised", [], []), [])
    test = rows_of_test(dataset.kind, [Example.from_json(one.body) for one in stored], tokenizer)
    places = sampled(test.items, most_tokens, seed)
    some = Lessons(test.objective, [test.examples[at] for at in places], [test.items[at] for at in places])
    return Part(dataset, some, [stored[at].group_id for at in places])


def _known(db: Database, dataset: Dataset) -> set[str]:
    rows = [one for split in ("train", "validation") for one in datasets.sizes(db, dataset.id, split)]
    names = {conversation for *_, conversation in rows} - {"", REPLAY, CANARY}
    return {hash_ for _, _, hash_, _ in rows} | names


@dataclass(frozen=True, slots=True)
class _Answered:
    """Log-probabilities that are already known, as a `Compared`."""

    before: Sums
    after: Sums

    def sums(self, items: Sequence[Sequence[Row]]) -> tuple[Sums, Sums]:
        kept = [place for place, some in enumerate(self.before) if some]
        assert len(kept) == len(items)
        return [self.before[place] for place in kept], [self.after[place] for place in kept]

    def continuation(self, ids: Sequence[int], tokens: int, *, adapted: bool) -> list[int]:
        raise NotImplementedError


def _measure(asked: Part, base: Sums, now: Sums, then: Sums | None, since: str, seed: int) -> dict[str, Any] | None:
    """The measure of an earlier dataset as JSON; None if nothing fits the context."""
    whole = _deciding(asked, _Answered(base, now), seed)
    kept = _deciding(asked, _Answered(then, now), seed) if then is not None else None
    if whole is None:
        return None
    told = {**whole.as_json(), "key": "earlier", "name": asked.dataset.name, "main": False}
    told["against_base"] = whole.difference
    if kept is not None:
        told |= {name: getattr(kept, name) for name in ("difference", "low", "high", "verdict")}
        told["since"] = since
    return told


def _deciding(asked: Part, answered: _Answered, seed: int) -> Measure | None:
    """The measure to compare: perplexity, or accuracy for labels."""
    found = measured(asked.dataset.kind, asked.test, asked.groups, answered, seed=seed)
    return next((one for one in found if one.key == "perplexity"), found[0] if found else None)
