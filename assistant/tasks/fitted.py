"""Calibrations fitted on a labelled file, and each row predicted by one that was fitted without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.errors import AssistantError
from assistant.tasks.task import BATCH_ROWS, Outcome
from prompts.calibration import FOLDS, fit, folds
from prompts.labels import Calibration
from prompts.template import Template


@dataclass(frozen=True, slots=True)
class Fitted:
    """`whole` is fitted on all rows, for inputs to come; `parts` on all but one part each."""

    whole: list[Calibration]
    parts: list[list[Calibration]]
    part_of: list[int]

    def of_row(self, number: int) -> list[Calibration]:
        """Of a row of the file itself, the one that hasn't seen it."""
        return self.parts[self.part_of[number]]


def fitted(template: Template, truths: Sequence[Sequence[str]], outcomes: Sequence[Outcome]) -> Fitted:
    """`truths` are the classes of each row. Raises `AssistantError` where there are too few."""
    scored = [number for number, one in enumerate(outcomes) if "scores" in one]
    if len(scored) < BATCH_ROWS:
        raise AssistantError(f"A calibration is fitted on {BATCH_ROWS} rows or more, here are {len(scored)}.")
    part_of = folds([tuple(one) for one in truths])

    def made(rows: Sequence[int]) -> list[Calibration]:
        right = [_right(template, truths[number]) for number in rows]
        columns = zip(*(outcomes[number]["scores"] for number in rows), strict=True)
        return [fit(scores, truth) for scores, truth in zip(columns, zip(*right, strict=True), strict=True)]

    parts = [made([number for number in scored if part_of[number] != part]) for part in range(FOLDS)]
    return Fitted(made(scored), parts, part_of)


def _right(template: Template, classes: Sequence[str]) -> list[int]:
    """Of each question the number of its right answer."""
    if template.several:
        return [0 if name in classes else 1 for name in template.labels]
    return [list(template.labels).index(classes[0])]


def as_json(calibrations: Sequence[Calibration]) -> list[dict[str, Any]]:
    """As it is kept."""
    return [{"log_prior": list(one.log_prior), "slope": one.slope} for one in calibrations]


def from_json(kept: Sequence[Mapping[str, Any]]) -> list[Calibration]:
    """The other way round."""
    return [Calibration("fitted", tuple(one["log_prior"]), one["slope"]) for one in kept]
