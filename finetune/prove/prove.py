"""Evaluate a run: compare base and adapter on held-out data, and write one report.

The report contains figures only, no text of the log, so that deleting text from the log deletes it everywhere.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.judgements import votes
from assistant.store.training import datasets, runs
from assistant.store.training.datasets import Dataset, StoredExample
from assistant.store.training.runs import Run
from finetune.base import Base, base_of
from finetune.config import TrainConfig
from finetune.data import forgetting
from finetune.data.example import Entity, Example
from finetune.data.lessons import Lessons
from finetune.data.tokens import Row, Tokenizer, sampled, tokens_of
from finetune.lineage.lineage import Start
from finetune.network import trainable
from finetune.network.both import Both, Compared
from finetune.network.tagger import Tagger
from finetune.progress import Advanced, Progress, Work
from finetune.prove import memorised, objections
from finetune.prove.earlier import Earlier
from finetune.prove.measures import measured, rows_of_test
from finetune.prove.memorised import Probe
from finetune.prove.paired import Measure, perplexity, share, wins
from finetune.versions import made_with
from prompts import metrics


@dataclass(frozen=True)
class Subject:
    """A run to evaluate: its adapter or changed weights, and the dataset that it learned."""

    run: Run
    hash: str
    dataset: Dataset
    folder: Path


def subject(db: Database, paths: Paths, run_name: str) -> Subject:
    """A finished run. Raises `TrainingRefused` if it isn't finished, its files changed, or its dataset was deleted."""
    run = runs.get(db, run_name)
    if run.state != "finished":
        raise TrainingRefused(f"{run.name} has nothing to compare with its base: it is {run.state}.")
    folder, hash_ = trainable.made_by(paths, run)
    dataset = datasets.by_id(db, run.dataset_id)
    if dataset is None:
        raise TrainingRefused(f"The dataset that {run.name} learned from was deleted, with its test part.")
    return Subject(run, hash_, dataset, folder)


def evaluate(
    db: Database,
    paths: Paths,
    run_name: str,
    *,
    probe: Path = forgetting.PROBE,
    seed: int = 0,
    more: Sequence[Measure] = (),
    most_tokens: int = 0,
    say: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Evaluate a run and store the report in the log. `more`: further measures. Raises `TrainingError`.

    `most_tokens`: sample a larger test part; 0: use all of it. `say` receives the progress, in tokens read by either
    model.
    """
    begun = time.monotonic()
    about = subject(db, paths, run_name)
    base = base_of(paths, about.run)
    config = TrainConfig.from_json(about.run.config.get("settings", {}))
    tokenizer = base.tokenizer_of_rows(config.block_tokens)
    start = Start.from_json(about.run.config.get("start"))
    before = Earlier.read(db, paths, start, tokenizer, seed) if start else None
    test = _test_part(db, about, before, tokenizer, most_tokens, seed)
    say(Advanced("loading the model"))
    both = Both.load(base, about.folder, config.precision)
    work = Work(say)
    both.read = work.did
    if about.dataset.kind == "entities":  # an entity head generates no text to forget or to leak
        work.begin("test part")
        measures, by_type = entities(test.lessons, test.groups, both, tokenizer, seed)
        sections: dict[str, Any] = {"memorised": {"probes": 0, "canaries": 0, "leaked": []}, "entities": by_type}
    else:
        general = forgetting.rows(base.chat_format, base.context_tokens, probe)
        measures, sections = _replies_measured(db, about, base, both, test, general, before, work, seed)
        measures += [*votes_measure(db, about, seed), *more]
    report = {
        **_identity(about),
        "test": test.as_json(tokenizer.cuts.shortened),
        "measures": [one.as_json() for one in measures],
        **sections,
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
        "made_with": made_with(),
    }
    report["reasons"] = objections.verdicts(report)
    runs.add_evaluation(db, about.run.id, about.hash, report)
    return report


@dataclass(frozen=True, slots=True)
class _TestPart:
    """The evaluated examples of a test part of `whole` examples, with their groups."""

    lessons: Lessons
    groups: Sequence[int]
    whole: int

    def as_json(self, shortened: int) -> dict[str, Any]:
        """The report's section on the test part."""
        items = self.lessons.items
        return {
            "examples": len(items),
            "of": self.whole,
            "groups": len(set(self.groups)),
            "tokens": sum(row.supervised for rows in items for row in rows),
            "median_tokens": _median_tokens(items, self.groups),
            "shortened": shortened,
            "left_out": sum(not rows for rows in items),
        }


def _test_part(
    db: Database, about: Subject, before: Earlier | None, tokenizer: Tokenizer, most_tokens: int, seed: int
) -> _TestPart:
    """The unseen examples of the test part, sampled if they have more than `most_tokens` tokens."""
    stored = _unseen(list(datasets.examples(db, about.dataset.id, "test")), about, before)
    whole = rows_of_test(about.dataset.kind, [Example.from_json(one.body) for one in stored], tokenizer)
    places = sampled(whole.items, most_tokens, seed)
    some = Lessons(whole.objective, [whole.examples[one] for one in places], [whole.items[one] for one in places])
    return _TestPart(some, [stored[place].group_id for place in places], len(stored))


def _replies_measured(
    db: Database,
    about: Subject,
    base: Base,
    both: Both,
    test: _TestPart,
    general: Sequence[Sequence[Row]],
    before: Earlier | None,
    work: Work,
    seed: int,
) -> tuple[list[Measure], dict[str, Any]]:
    """(measures on the test part and general text, sections of the report on memorisation and earlier datasets)."""
    train = datasets.examples(db, about.dataset.id, "train")
    probes = memorised.within_budget(memorised.probes(db, about.dataset, train, seed), base.chat_format)
    probing = sum(one.cost(base.chat_format) for one in probes)
    work.expect(2 * (tokens_of(test.lessons.items) + tokens_of(general)) + probing + (before.tokens if before else 0))
    work.begin("test part")
    measures = measured(about.dataset.kind, test.lessons, test.groups, both, seed=seed)
    work.begin("general text")
    measures.append(forgetting_measure(general, both, seed))
    sections: dict[str, Any] = {}
    if before:
        work.begin("earlier datasets")
        sections["earlier"] = before.asked(both, seed)
    work.begin("personal data and canaries")
    return measures, {"memorised": leaked_secrets(probes, base, both, work.did), **sections}


def _identity(about: Subject) -> dict[str, Any]:
    """What the report is about: run, model, adapter and dataset with their hashes."""
    return {
        "run": about.run.name,
        "model": about.run.model,
        "base_hash": about.run.base_hash,
        "adapter": about.run.name,
        "adapter_hash": about.hash,
        "dataset": {"name": about.dataset.name, "kind": about.dataset.kind, "sha256": about.dataset.hash},
    }


def _median_tokens(items: Sequence[Sequence[Row]], groups: Sequence[object]) -> float:
    """Median of the supervised tokens of a group."""
    tokens = Counter[object]()
    for rows, group in zip(items, groups, strict=True):
        tokens[group] += sum(row.supervised for row in rows)
    return median(tokens.values())


def _unseen(stored: list[StoredExample], about: Subject, before: Earlier | None) -> list[StoredExample]:
    """Test examples that no earlier training learned. Raises `TrainingRefused` if there are none."""
    name = about.dataset.name
    if not stored:
        raise TrainingRefused(
            f"The dataset {name} has no test part. Make one with `finetune data` from more conversations."
        )
    unseen = [one for one in stored if not (before and before.holds(one))]
    if not unseen:
        raise TrainingRefused(
            f"All of the test part of {name} was learned before, by adapters behind {about.run.name}: it can't prove "
            "anything. Make a dataset of newer conversations with `finetune data`."
        )
    return unseen


def entities(
    test: Lessons, groups: Sequence[object], both: Both, tokenizer: Tokenizer, seed: int = 0
) -> tuple[list[Measure], dict[str, Any]]:
    """(F1 of whole entities compared with tagging nothing; precision, recall and F1 of each type)."""
    texts = [one.messages[-1].content for one in test.examples]
    read = Tagger(both, tokenizer, test.types).read(texts, test.items)
    found = [some or [] for some in read]  # none in a text that is too long
    truth = [list(one.entities) for one in test.examples]
    finders: tuple[Sequence[list[Entity]], ...] = ([[]] * len(truth), found)
    none, some = ([metrics.span_f1(*pair) for pair in zip(truth, said, strict=True)] for said in finders)
    return [share("entities", "entity F1", none, some, groups, main=True, seed=seed)], metrics.entities(
        texts, truth, found
    )


def leaked_secrets(asked: Sequence[Probe], base: Base, both: Both, did: Callable[[int], None]) -> dict[str, Any]:
    """{"probes", "canaries": their numbers, "leaked": the probes whose secret came out}."""
    found = memorised.leaks(both, base.chat_format, lambda ids: base.tokenizer.decode(ids), asked, did)
    canaries = sum(one.kind == memorised.CANARY for one in asked)
    return {"probes": len(asked), "canaries": canaries, "leaked": [dict(one) for one in found]}


def forgetting_measure(items: Sequence[Sequence[Row]], both: Compared, seed: int = 0) -> Measure:
    """Perplexity of general text, from `forgetting.rows`; each row is a group."""
    before, after = ([-sum(one) for one in sums] for sums in both.sums(items))
    tokens = [row.supervised for (row,) in items]
    return perplexity("forgetting", "general text", before, after, tokens, range(len(items)), seed=seed)


def votes_measure(db: Database, about: Subject, seed: int = 0) -> list[Measure]:
    """Share of blind votes that the adapter won; empty without votes."""
    cast = votes.against_base(db, about.run.model, about.hash)
    if not cast:
        return []
    won, of = [one.won for one in cast], [one.conversation_id for one in cast]
    return [wins("votes", "you preferred", won, of, seed=seed)]
