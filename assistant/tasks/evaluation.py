"""Predictions beside the truth: which measures a template's kind has, and how right each single item is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.tasks.rows import InputUnreadable
from assistant.tasks.task import located
from prompts import metrics
from prompts.labels import named
from prompts.template import Template

TRUTH = {"label": "label", "score": "label", "extract": "reference", "text": "reference", "chat": "reference"}
"""Kind -> the column that holds the truth: a class, several with commas between them or in a list; a text; JSON."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`values` are those of the `main` measure, one for each item from 0 to 1; its mean is `value`."""

    main: str
    values: list[float]
    value: float
    low: float
    high: float
    report: dict[str, Any]
    """All measures, by their names in `prompts.metrics`."""


def check(template: Template, rows: Iterable[Mapping[str, Any]], name: str) -> None:
    """Raises `InputUnreadable` for a row without its truth, or with a class that the template doesn't know."""
    for number, row in enumerate(rows, 1):
        column = TRUTH[template.kind]
        if row.get(column) in (None, ""):
            raise InputUnreadable(f"{name}, row {number}: no {column!r}, which says what is right.")
        for label in classes(row[column], template.several) if template.labels else ():
            if label not in template.labels:
                known = ", ".join(template.labels)
                raise InputUnreadable(f"{name}, row {number}: the label {label!r} is none of {known}.")


def evaluate(template: Template, rows: Sequence[Mapping[str, Any]], column: str) -> Evaluation:
    """Of rows with their truth and `prediction`, which was made of `column`. One that failed is wrong."""
    if template.several:
        return _several(template, rows)
    if template.labels:
        return _classes(template, rows)
    if template.kind == "extract":
        return _extracted(rows, column)
    references = [str(row["reference"]) for row in rows]
    said = [str(row["prediction"] or "") for row in rows]
    values = [metrics.token_f1(*pair) for pair in zip(references, said, strict=True)]
    return _evaluation("f1", values, metrics.written(references, said, template.language))


def classes(value: Any, several: bool) -> list[str]:
    """Those that a row's truth names."""
    if isinstance(value, list):
        return [str(one) for one in value]
    return named(str(value)) if several else [str(value)]


def _classes(template: Template, rows: Sequence[Mapping[str, Any]]) -> Evaluation:
    known, failed = list(template.labels), "(failed)"
    truth = [str(row["label"]) for row in rows]
    chances = [row["probabilities"] or {failed: 0.0} for row in rows]
    said = [max(one, key=one.__getitem__) for one in chances]
    right = [a == b for a, b in zip(truth, said, strict=True)]
    report = metrics.classification(truth, said, known)
    report["calibration_error"] = metrics.calibration_error(right, [max(one.values()) for one in chances])
    return _evaluation("accuracy", [float(one) for one in right], report)


def _several(template: Template, rows: Sequence[Mapping[str, Any]]) -> Evaluation:
    truth = [classes(row["label"], True) for row in rows]
    said = [row["prediction"] or [] for row in rows]
    values = [
        float(row["prediction"] is not None and set(a) == set(b)) for row, a, b in zip(rows, truth, said, strict=True)
    ]
    return _evaluation("exact_match", values, metrics.several_labels(truth, said, list(template.labels)))


def _extracted(rows: Sequence[Mapping[str, Any]], column: str) -> Evaluation:
    texts = [str(row[column]) for row in rows]
    truth = [located(row["reference"], text) for row, text in zip(rows, texts, strict=True)]
    values = [metrics.same_json(a, row["prediction"]) for a, row in zip(truth, rows, strict=True)]
    report: dict[str, Any] = {"exact_match": sum(values) / len(values)}
    wanted = [metrics.spans(one) for one in truth]
    if any(wanted):
        found = [metrics.spans(row["prediction"]) for row in rows]
        report |= {"entities": metrics.entities(texts, wanted, found)}
        values = [metrics.span_f1(a, b) for a, b in zip(wanted, found, strict=True)]
        return _evaluation("entity_f1", values, report)
    return _evaluation("exact_match", values, report)


def _evaluation(main: str, values: list[float], report: dict[str, Any]) -> Evaluation:
    return Evaluation(main, values, sum(values) / len(values), *metrics.interval(values), report)
