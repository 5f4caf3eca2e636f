"""The next training: model, data, settings; and the command lines that stand for it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlite_utils import Database

from assistant.cli.filter_options import as_arguments
from assistant.store.database import select
from assistant.store.search import exchanges
from assistant.store.search.filter import EVERYTHING, Filter
from finetune.config import TrainConfig
from finetune.lineage.lineage import FIXED
from finetune.progress import Planned

DEFAULT = TrainConfig(budget_minutes=3)
"""With data and proof it takes about five minutes."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is learned from: a dataset, or what becomes one. `dataset` is empty until it is frozen."""

    about: str
    dataset: str = ""
    arguments: tuple[str, ...] = ()
    """Of `finetune data`, besides the name."""
    made_of: "Source | None" = None
    """What the dataset was frozen from."""
    log_state: object = None
    """`log_state` when the dataset was frozen."""


JUDGED_WELL = Source("replies you rated good, kept or corrected")
"""What `finetune data` takes by default."""
IMPORTED = Source("all imported replies", "", ("--all", "--imported"))
VOTES = Source("your votes and corrections, as preferences", "", ("--kind", "preference"))
THUMBS = Source("your thumbs up and down", "", ("--kind", "kto"))


def suggested(db: Database) -> Source:
    """Where to learn from before anybody has chosen: the imported replies where none of the log is judged yet."""
    judged, imported = (
        exchanges.count(db, Filter(**{name: True}), at_most=1)  # type: ignore[arg-type]
        for name in ("judged", "imported")
    )
    if imported and not judged:
        return replace(IMPORTED, about="all imported replies, as nothing is judged yet")
    return JUDGED_WELL


def log_state(db: Database) -> object:
    """Changes with every message and judgement."""
    return select(db, "SELECT (SELECT max(id) FROM messages), max(id), total(undone) FROM acts")[0]


def current(source: Source, state: object) -> Source:
    """The source, or what its dataset was frozen from where the log has changed since."""
    return source.made_of if source.made_of and source.log_state != state else source


def of_filter(typed: str, filter_: Filter) -> Source:
    """What a filter of the log leaves, judged or not; `typed` is how the reader wrote it."""
    if filter_ == EVERYTHING:
        return JUDGED_WELL
    return Source(f"the log: {typed}", "", ("--all", *as_arguments(filter_)))


@dataclass(frozen=True, slots=True)
class Setup:
    """The choices, and the plan once it is made. A change drops the plan."""

    model: str
    source: Source = JUDGED_WELL
    config: TrainConfig = DEFAULT
    planned: Planned | None = None
    in_use: str = ""
    """Name of the adapter in use, if it can be trained further."""
    from_base: bool = False
    """Begin with the base although an adapter is in use."""

    @property
    def start(self) -> str:
        """Name of the adapter that the training goes on from; empty: the base."""
        return "" if self.from_base else self.in_use

    def with_settings(self, config: TrainConfig) -> "Setup":
        """With other settings. Another method than that of the adapter in use begins with the base."""
        other = any(getattr(config, name) != getattr(self.config, name) for name in FIXED)
        return self.changed(config=config, from_base=self.from_base or other)

    def changed(self, **changes: Any) -> "Setup":
        """With other values, and without the plan."""
        return replace(self, **changes, planned=None)

    def train_arguments(self) -> list[str]:
        """Of `finetune`, for a training of this kind on the dataset."""
        told = ["train", "--data", self.source.dataset, "--model", self.model]
        if not self.start:
            return [*told, *_options(self.config)]
        return [*told, "--from", self.start, *_options(as_adapter(self.config))]

    def data_arguments(self, name: str) -> list[str]:
        """Of `finetune`, to freeze the dataset under this name."""
        return ["data", "--name", name, "--for-model", self.model, *self.source.arguments]

    def count_arguments(self) -> list[str]:
        """Of `finetune`, to count the replies that the dataset would take."""
        return ["data", "--count", *self.source.arguments]


def as_adapter(config: TrainConfig) -> TrainConfig:
    """The settings without those that an adapter to go on from has of its own."""
    return replace(config, **{name: getattr(DEFAULT, name) for name in FIXED})


def _options(config: TrainConfig) -> list[str]:
    """What is set otherwise than by default."""
    arguments: list[str] = []
    for field in dataclasses.fields(TrainConfig):
        value, option = getattr(config, field.name), f"--{field.name.replace('_', '-')}"
        if value == field.default:
            continue
        if field.name == "budget_minutes":
            arguments += ["--budget", f"{value:g}"]
        elif isinstance(value, bool):
            arguments.append(option)
        else:
            values = value if isinstance(value, tuple) else (value,)
            arguments += [part for one in values for part in (option, str(one))]
    return arguments


def free_name(wanted: str, taken: Sequence[str]) -> str:
    """`wanted`, with a number where there is one of that name."""
    names = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)
