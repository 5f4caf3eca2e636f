"""Measures of base and adapter on the test part, by the kind of the dataset, and on a template's task."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from assistant.tasks import testing
from assistant.tasks.task import Task
from finetune.data.example import Example
from finetune.data.lessons import Lessons, lessons
from finetune.data.tokens import Row, Tokenizer
from finetune.network.both import Compared, Sums
from finetune.prove.paired import Measure, perplexity, share, wins
from prompts.labels import class_scores
from prompts.template import Template


@dataclass(frozen=True)
class Answers:
    """Examples with rows and log-probabilities. Examples with equal `groups` are resampled together."""

    examples: Sequence[Example]
    items: Sequence[Sequence[Row]]
    base: Sums
    adapted: Sums
    groups: Sequence[object]

    def only(self, places: Sequence[int], rows: slice = slice(None)) -> "Answers":
        """A subset of the examples, and of each example's rows."""
        return Answers(
            [self.examples[place] for place in places],
            [self.items[place][rows] for place in places],
            [self.base[place][rows] for place in places],
            [self.adapted[place][rows] for place in places],
            [self.groups[place] for place in places],
        )


def rows_of_test(kind: str, examples: Sequence[Example], tokenizer: Tokenizer) -> Lessons:
    """Rows of a test part; empty for an example that doesn't fit the context."""
    if kind == "kto":  # each rated reply by itself
        items = [tokenizer.alternatives(one.messages[:-1], (one.messages[-1].content,)) for one in examples]
        return Lessons("supervised", examples, items)
    return lessons("dpo" if kind == "preference" else kind, examples, tokenizer, 0)


def measured(kind: str, test: Lessons, groups: Sequence[object], both: Compared, *, seed: int = 0) -> list[Measure]:
    """The measures, the deciding one first; empty if nothing fits the context."""
    kept = [place for place, rows in enumerate(test.items) if rows]
    if not kept:
        return []
    items = [test.items[place] for place in kept]
    base, adapted = both.sums(items)
    asked = Answers([test.examples[place] for place in kept], items, base, adapted, [groups[place] for place in kept])
    match kind:
        case "label":
            right = [_right(asked, sums) for sums in (base, adapted)]
            return [share("accuracy", "accuracy", right[0], right[1], asked.groups, main=True, seed=seed)]
        case "preference":
            return _preference(asked, seed)
        case "kto":
            return _judged(asked, seed)
    return [_perplexity("perplexity", asked, seed, main=True), _likelier(asked, seed)]


def _perplexity(name: str, asked: Answers, seed: int, *, main: bool = False) -> Measure:
    tokens = [sum(row.supervised for row in rows) for rows in asked.items]
    return perplexity(
        "perplexity", name, _nll(asked.base), _nll(asked.adapted), tokens, asked.groups, main=main, seed=seed
    )


def _likelier(asked: Answers, seed: int) -> Measure:
    """For how many examples the reply is likelier under the adapter than under the base."""
    pairs = zip(_nll(asked.base), _nll(asked.adapted), strict=True)
    won = [0.5 if new == old else float(new < old) for old, new in pairs]
    return wins("likelier", "prefers your reply", won, asked.groups, seed=seed)


def _nll(sums: Sums) -> list[float]:
    return [-sum(one) for one in sums]


def _preference(asked: Answers, seed: int) -> list[Measure]:
    """How often the chosen reply is likelier than the rejected one, for each token; perplexity of the chosen."""
    right = [
        [
            float(sums[0] / rows[0].supervised > sums[1] / rows[1].supervised)
            for rows, sums in zip(asked.items, some, strict=True)
        ]
        for some in (asked.base, asked.adapted)
    ]
    chosen = asked.only(range(len(asked.items)), slice(1))
    return [
        share("preference", "chosen is likelier", right[0], right[1], asked.groups, main=True, seed=seed),
        _perplexity("perplexity of chosen", chosen, seed),
    ]


def _judged(asked: Answers, seed: int) -> list[Measure]:
    """How often a good reply became likelier or a bad one less likely, against one half; perplexity of good ones."""
    pairs = zip(asked.examples, asked.base, asked.adapted, strict=True)
    right = [float((sum(new) > sum(old)) == example.good) for example, old, new in pairs]
    half = [0.5] * len(right)
    measures = [share("thumbs", "moved as judged", half, right, asked.groups, main=True, seed=seed)]
    good = [place for place, one in enumerate(asked.examples) if one.good]
    return [*measures, _perplexity("perplexity of good", asked.only(good), seed)] if good else measures


def _right(asked: Answers, sums: Sums) -> list[float]:
    """Whether the right class, the first, scores best: 1 or 0 for each example."""
    right = []
    for example, rows, some in zip(asked.examples, asked.items, sums, strict=True):
        means = [[total / max(1, row.supervised)] for total, row in zip(some, rows, strict=True)]
        scores = class_scores({str(place): words for place, words in enumerate(example.choices)}, means)
        right.append(float(scores[0] == max(scores)))
    return right


# -- a template's task --------------------------------------------------------------------------------------------

TaskWith = Callable[[str], AbstractAsyncContextManager[Task]]
"""The task with the named adapter; with an empty name, of the base."""


async def task_measured(template: Template, source: Path, task_with: TaskWith, adapter: str, seed: int = 0) -> Measure:
    """The template's main measure; each item is a group. Raises `InputUnreadable` for a bad labelled set."""
    found = []
    for name in ("", adapter):
        async with task_with(name) as task:
            test, _ = await testing.run(task, source, "", lambda *_: None)
            found.append(test)
    base, adapted = (one.values for one in found)
    name = f"{template.name} {found[0].main.replace('_', ' ')}"
    return share(f"task {template.name}", name, base, adapted, range(len(base)), seed=seed)
