"""Base and adapter on what neither has learned from, and what that proves: one report.

The report holds figures alone, no text of the log: what is deleted there leaves nothing in it.
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
from finetune.network import adapters
from finetune.network.both import Both, Compared
from finetune.progress import Advanced, Progress, Work
from finetune.prove import memorised, objections
from finetune.prove.earlier import Earlier
from finetune.prove.measure import Measure, perplexity, share, wins
from finetune.prove.memorised import Probe
from finetune.prove.on_test import measured, rows_of_test
from finetune.tagger import Tagger
from finetune.versions import made_with
from prompts import metrics


@dataclass(frozen=True)
class Subject:
    """What is proved: the adapter of a run, or the weights it changed, with the dataset it learned from."""

    run: Run
    hash: str
    dataset: Dataset
    folder: Path


def subject(db: Database, paths: Paths, run_name: str) -> Subject:
    """Raises `TrainingRefused` where the run has come to nothing, its files were changed, or its dataset is gone."""
    run = runs.get(db, run_name)
    if run.state != "finished":
        raise TrainingRefused(f"{run.name} has nothing to compare with its base: it is {run.state}.")
    folder, hash_ = adapters.made_by(paths, run)
    dataset = datasets.by_id(db, run.dataset_id)
    if dataset is None:
        raise TrainingRefused(f"The dataset that {run.name} learned from is deleted, and its test part with it.")
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
    """The report, kept in the log. `more`: measures that were taken elsewhere. Raises a `TrainingError`.

    `most_tokens`: the test part is sampled where it has more; 0: all of it is asked. `say` is told how far it has come,
    in tokens read by either model.
    """
    begun = time.monotonic()
    about = subject(db, paths, run_name)
    base = base_of(paths, about.run)
    config = TrainConfig.from_json(about.run.config.get("settings", {}))
    tokenizer = base.tokenizer_of_rows(config.block_tokens)
    start = Start.from_json(about.run.config.get("start"))
    before = Earlier.read(db, paths, start, tokenizer, seed) if start else None
    stored = _unseen(list(datasets.examples(db, about.dataset.id, "test")), about, before)
    test = rows_of_test(about.dataset.kind, [Example.from_json(one.body) for one in stored], tokenizer)
    whole, places = len(stored), sampled(test.items, most_tokens, seed)
    stored = [stored[place] for place in places]
    test = Lessons(test.objective, [test.examples[one] for one in places], [test.items[one] for one in places])
    say(Advanced("loading the model"))
    both = Both.load(base, about.folder, config.precision)
    work = Work(say)
    both.read = work.did
    groups = [one.group_id for one in stored]
    told: dict[str, Any] = {"memorised": {"probes": 0, "canaries": 0, "leaked": []}}
    if about.dataset.kind == "entities":  # a head says nothing that could be forgotten or given away
        work.begin("test part")
        measures, told["entities"] = entities(test, groups, both, tokenizer, seed)
    else:
        general = forgetting.rows(base.chat_format, base.context_tokens, probe)
        train = datasets.examples(db, about.dataset.id, "train")
        asked = memorised.affordable(memorised.probes(db, about.dataset, train, seed), base.chat_format)
        probing = sum(one.cost(base.chat_format) for one in asked)
        earlier_tokens = before.tokens if before else 0
        work.expect(2 * (tokens_of(test.items) + tokens_of(general)) + probing + earlier_tokens)
        work.begin("test part")
        measures = measured(about.dataset.kind, test, groups, both, seed=seed)
        work.begin("general text")
        measures.append(forgotten(general, both, seed))
        measures += [*voted(db, about, seed), *more]
        if before:
            work.begin("earlier datasets")
            told["earlier"] = before.asked(both, seed)
        work.begin("personal data and canaries")
        told["memorised"] = given_away(asked, base, both, work.did)
    report = {
        "run": about.run.name,
        "model": about.run.model,
        "base_hash": about.run.base_hash,
        "adapter": about.run.name,
        "adapter_hash": about.hash,
        "dataset": {"name": about.dataset.name, "kind": about.dataset.kind, "sha256": about.dataset.hash},
        "test": {
            "examples": len(stored),
            "of": whole,
            "groups": len({one.group_id for one in stored}),
            "tokens": sum(row.supervised for rows in test.items for row in rows),
            "median_tokens": _median_tokens(test.items, groups),
            "shortened": tokenizer.cuts.shortened,
            "left_out": sum(not rows for rows in test.items),
        },
        "measures": [one.as_json() for one in measures],
        **told,
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
        "made_with": made_with(),
    }
    report["reasons"] = objections.verdicts(report)
    runs.add_evaluation(db, about.run.id, about.hash, report)
    return report


def _median_tokens(items: Sequence[Sequence[Row]], groups: Sequence[object]) -> float:
    """Supervised tokens of a group."""
    tokens = Counter[object]()
    for rows, group in zip(items, groups, strict=True):
        tokens[group] += sum(row.supervised for row in rows)
    return median(tokens.values())


def _unseen(stored: list[StoredExample], about: Subject, before: Earlier | None) -> list[StoredExample]:
    """The examples of the test part that no earlier training learned. Raises `TrainingRefused` where there is none."""
    name = about.dataset.name
    if not stored:
        raise TrainingRefused(
            f"The dataset {name} has no test part. Make one with `finetune data` from more conversations."
        )
    unseen = [one for one in stored if not (before and before.holds(one))]
    if not unseen:
        raise TrainingRefused(
            f"All of the test part of {name} was learned before, by what {about.run.name} goes on from: it can't prove "
            "anything. Make a dataset of newer conversations with `finetune data`."
        )
    return unseen


def entities(
    test: Lessons, groups: Sequence[object], both: Both, tokenizer: Tokenizer, seed: int = 0
) -> tuple[list[Measure], dict[str, Any]]:
    """(F1 of whole entities beside that of finding none, precision, recall and F1 of each type)."""
    texts = [one.messages[-1].content for one in test.examples]
    read = Tagger(both, tokenizer, test.types).read(texts, test.items)
    found = [some or [] for some in read]  # in what is too long none are
    truth = [list(one.entities) for one in test.examples]
    finders: tuple[Sequence[list[Entity]], ...] = ([[]] * len(truth), found)
    none, some = ([metrics.span_f1(*pair) for pair in zip(truth, said, strict=True)] for said in finders)
    return [share("entities", "entity F1", none, some, groups, main=True, seed=seed)], metrics.entities(
        texts, truth, found
    )


def given_away(asked: Sequence[Probe], base: Base, both: Both, did: Callable[[int], None]) -> dict[str, Any]:
    """How many probes there are, how many of them are canaries, and which came out."""
    found = memorised.leaks(both, base.chat_format, lambda ids: base.tokenizer.decode(ids), asked, did)
    canaries = sum(one.kind == memorised.CANARY for one in asked)
    return {"probes": len(asked), "canaries": canaries, "leaked": [dict(one) for one in found]}


def forgotten(items: Sequence[Sequence[Row]], both: Compared, seed: int = 0) -> Measure:
    """Perplexity of general text, as `forgetting.rows` gives it; a group is some paragraphs."""
    before, after = ([-sum(one) for one in sums] for sums in both.sums(items))
    tokens = [row.supervised for (row,) in items]
    return perplexity("forgetting", "general text", before, after, tokens, range(len(items)), seed=seed)


def voted(db: Database, about: Subject, seed: int = 0) -> list[Measure]:
    """The share of blind votes that the adapter won; nothing where there was none."""
    cast = votes.against_base(db, about.run.model, about.hash)
    if not cast:
        return []
    won, of = [one.won for one in cast], [one.conversation_id for one in cast]
    return [wins("votes", "you preferred", won, of, seed=seed)]
