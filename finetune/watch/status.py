"""Status of a model and its log: what it hasn't learned yet, drift and shift, and advice on training again."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, cast

from sqlite_utils import Database

from assistant.adapters.folder import trouble
from assistant.errors import AssistantError, TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters, datasets, runs
from assistant.store.training.adapters import StoredAdapter
from assistant.store.training.datasets import Dataset, StoredExample
from assistant.store.training.runs import Run
from finetune.config import TrainConfig
from finetune.data.dataset import CANARY, REPLAY, selection_of
from finetune.data.example import Kind
from finetune.data.select import Selection, count
from finetune.prove import enough
from finetune.prove.objections import objections
from finetune.prove.power import Estimate
from finetune.watch.advice import FEWEST_TO_TRAIN, Advice, Findings, advice
from finetune.watch.new_in_log import NewInLog, fresh
from finetune.watch.shift import Shift, shift
from finetune.watch.two_samples import FEWEST_GROUPS
from prompts.template import Template

if TYPE_CHECKING:
    from assistant.store.redaction.redactor import Redactor
    from finetune.watch.drift import Drift

BUDGET_MINUTES = 10
"""Minutes of the training that is advised."""


@dataclass(frozen=True, slots=True)
class Status:
    """`dataset`: that of the adapter in use; without an adapter the newest, for comparison only."""

    model: str
    adapter: StoredAdapter | None
    dataset: Dataset | None
    fresh: NewInLog
    drift: "Drift | None"
    no_drift: str
    """Why drift wasn't measured, as a sentence."""
    shift: Shift | None
    advice: Advice
    estimate: Estimate | None
    """What a dataset of the whole log, made like this one, can show; None for kinds that perplexity doesn't decide."""
    next_dataset: str = ""
    """Name for the dataset of the next training; empty if there is too little to train on, or a trained run waits to be
    proved."""

    def as_json(self) -> dict[str, Any]:
        """The status as plain JSON."""
        adapter, dataset = self.adapter, self.dataset
        return {
            "model": self.model,
            "adapter": adapter.name if adapter else "",
            "adapter_hash": adapter.hash if adapter else "",
            "dataset": dataset and {"name": dataset.name, "kind": dataset.kind, "created_ms": dataset.created_ms},
            "new": {**self.fresh.judged, "conversations": self.fresh.conversations},
            "drift": self.drift.as_json() if self.drift else None,
            "no_drift": self.no_drift,
            "shift": self.shift.as_json() if self.shift else None,
            "advice": asdict(self.advice),
            "enough": self.estimate.as_json() if self.estimate else None,
        }


def status(
    db: Database,
    paths: Paths,
    model: str,
    find_template: Callable[[str], Template],
    redactor: "Callable[[], Redactor]",
    *,
    with_drift: bool = True,
    options: str = "",
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Status:
    """Examine the log. `redactor` is called if the dataset has placeholders for personal data; `options` are added to
    the advised commands. Raises `TemplateUnknown` if the dataset's template was deleted.
    """
    used = adapters.in_use(db, model)
    learned = _learned_from(db, used)
    of_log = (one for one in datasets.every(db) if one.kind != "entities")
    beside = learned or (None if used else next(of_log, None))
    wanted = selection_of(beside, find_template) if beside else Selection()
    held = list(datasets.examples(db, beside.id)) if beside else []
    clean = redactor() if beside and beside.source.get("redacted") else None
    say("what is new in the log")
    apart = fresh(db, wanted, held, clean)
    new = apart if learned or not beside else fresh(db, wanted, [], clean)
    shows = enough.estimate(db, count(db, wanted), wanted)
    shifted = shift(db, held, apart, seed) if apart.candidates and held else None
    drifted, why = None, "it was not asked for."
    if with_drift:
        try:
            drifted, why = _drift(db, paths, model, used, beside, apart, seed, say), ""
        except AssistantError as error:
            why = str(error)
    waiting = _waiting(db, model, used, new)
    own = {one.group_id for one in held if one.conversation not in (REPLAY, CANARY)} if learned else set()
    found = Findings(
        new.conversations,
        len(own),
        new.judged,
        drifted,
        shifted,
        waiting=waiting.name if waiting else "",
        waiting_is_proved=waiting is not None and runs.evaluation(db, waiting.id) is not None,
        adapter=used.name if used else "",
    )
    name = _free_name(db, beside)
    told = advice(found, _commands(name, beside, options))
    trainable = told.commands and told.action != "prove"
    return Status(model, used, beside, new, drifted, why, shifted, told, shows, name if trainable else "")


def _learned_from(db: Database, used: StoredAdapter | None) -> Dataset | None:
    hash_ = used.lineage.get("dataset", {}).get("sha256", "") if used else ""
    return next((one for one in datasets.every(db) if one.hash == hash_), None)


def _drift(
    db: Database,
    paths: Paths,
    model: str,
    used: StoredAdapter | None,
    beside: Dataset | None,
    apart: NewInLog,
    seed: int,
    say: Callable[[str], None],
) -> "Drift":
    if beside is None:
        raise TrainingRefused("There is no dataset with a test part to compare with.")
    if apart.conversations < FEWEST_GROUPS:
        raise TrainingRefused(f"Measuring it needs {FEWEST_GROUPS} new conversations.")
    test: Sequence[StoredExample] = list(datasets.examples(db, beside.id, "test"))
    if not test:
        raise TrainingRefused(f"{beside.name} has no test part to compare with.")
    from finetune.base import opened_base
    from finetune.watch.drift import drift

    base = opened_base(paths, model)
    if used is not None:
        if wrong := trouble(paths.adapters / used.name, used.hash):
            raise TrainingRefused(f"{used.name} can't be used: {wrong}")
        if base.hash != used.base_hash:
            raise TrainingRefused(f"{used.name} was made for other weights of {model}.")
    config = TrainConfig.from_json(used.lineage.get("settings", {}) if used else {})
    say("loss on new conversations and on the test part")
    folder = paths.adapters / used.name if used else None
    return drift(
        base,
        folder,
        cast(Kind, beside.kind),
        test,
        apart,
        precision=config.precision,
        block_tokens=config.block_tokens,
        seed=seed,
    )


def _waiting(db: Database, model: str, used: StoredAdapter | None, new: NewInLog) -> Run | None:
    """The newest run, if it is newer than the adapter in use, learned nearly all new conversations, was never in use,
    and has no objections against it.
    """
    in_use = runs.find(db, used.name) if used else None
    tried = {one.adapter_hash for one in adapters.history(db, model)}
    newest = next((one for one in runs.every(db) if one.model == model and one.adapter_hash), None)
    if newest is None or newest.adapter_hash in tried or (in_use is not None and newest.id < in_use.id):
        return None
    found = adapters.find(db, newest.adapter_hash)
    if found is None:
        return None
    if runs.evaluation(db, newest.id) and objections(db, found):
        return None
    dataset = datasets.by_id(db, newest.dataset_id)
    held = {one.conversation for one in datasets.examples(db, dataset.id)} if dataset else set()
    left = {group for one, group in zip(new.candidates, new.groups, strict=True) if one.conversation not in held}
    return newest if len(left) < FEWEST_TO_TRAIN else None


def _commands(name: str, beside: Dataset | None, options: str) -> list[str]:
    like = f" --like {quote(beside.name)}" if beside else ""
    run = quote(f"{name}-1")
    return [
        f"finetune data{like} --name {quote(name)}",
        f"finetune train --data {quote(name)} --budget {BUDGET_MINUTES}{options}",
        f"finetune eval {run}",
        f"finetune promote {run}",
    ]


def _free_name(db: Database, beside: Dataset | None) -> str:
    """An unused name for the next dataset: the name of `beside` with the next number."""
    stem = re.sub(r"-\d+$", "", beside.name) if beside else "log"
    taken = {one.name for one in datasets.every(db)} | {re.sub(r"-\d+$", "", one.name) for one in runs.every(db)}
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
    return next(one for one in names if one not in taken)
