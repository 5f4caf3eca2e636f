"""What is to be trained next: on which model, on what, how; and the command lines that stand for it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from assistant.cli.filter_options import as_arguments
from assistant.store.filter import EVERYTHING, Filter
from finetune.config import TrainConfig
from finetune.progress import Planned

DEFAULT = TrainConfig(budget_minutes=10)


@dataclass(frozen=True, slots=True)
class Source:
    """What is learned from: a dataset, or what becomes one. `dataset` is empty until it is frozen."""

    about: str
    dataset: str = ""
    arguments: tuple[str, ...] = ()
    """Of `finetune data`, besides the name."""


JUDGED_WELL = Source("what you rated good, kept or corrected")
"""What `finetune data` takes where nothing else is said."""


VOTES = Source("your votes and corrections: rather this than that", "", ("--kind", "preference"))
THUMBS = Source("your thumbs: more of the good, less of the bad", "", ("--kind", "kto"))


def of_filter(typed: str, filter_: Filter) -> Source:
    """What a filter of the log leaves, judged or not; `typed` is how the reader wrote it."""
    if filter_ == EVERYTHING:
        return JUDGED_WELL
    return Source(f"the log: {typed}", "", ("--all", *as_arguments(filter_)))


@dataclass(frozen=True, slots=True)
class Setup:
    """All of it, and the plan once it is made. A change takes the plan away."""

    model: str
    source: Source = JUDGED_WELL
    config: TrainConfig = DEFAULT
    planned: Planned | None = None

    def changed(self, **changes: Any) -> "Setup":
        """With other values, and without the plan."""
        return replace(self, **changes, planned=None)

    def train_arguments(self) -> list[str]:
        """Of `finetune`, for a training of this kind on the dataset."""
        return ["train", "--data", self.source.dataset, "--model", self.model, *_options(self.config)]

    def data_arguments(self, name: str) -> list[str]:
        """Of `finetune`, to freeze the dataset under this name."""
        return ["data", "--name", name, "--model", self.model, *self.source.arguments]


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
