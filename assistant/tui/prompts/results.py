"""Tests of a template on labelled sets: the newest in full, all as bars, and one that goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from textual.content import Content

from assistant.cli.output import counted, duration
from assistant.safe_text import printable
from assistant.store.template_tests import TemplateTest
from assistant.tasks.comparison import Comparison, compare
from assistant.tui.clock import short_time
from assistant.tui.prompts.answers import bars
from assistant.tui.prompts.bars import bar, percent
from assistant.tui.widgets.page import Blocks
from assistant.tui.widgets.rows import EMPTY, Block, Row, Sides

NONE = "Not tested yet. t tests it on a labelled set, and keeps the result."
TESTS_SHOWN = 12
BAR_CELLS = 16


@dataclass(frozen=True, slots=True)
class Going:
    """A test that goes on."""

    done: int = 0
    total: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        if not self.done:
            return "asking the model"
        left_s = self.seconds / self.done * (self.total - self.done)
        return f"{self.done:,} of {self.total:,} · {duration(left_s)} left"


@dataclass(frozen=True, slots=True)
class Measured:
    """A 95 % interval of a test's mean, and how it compares with the one before."""

    low: float
    high: float
    compared: Comparison | None


def measure(test: TemplateTest, before: TemplateTest | None, zone: tzinfo | None) -> Measured:
    """Resamples the items, which takes a moment. Imports numpy."""
    from prompts.metrics import interval

    return Measured(*interval(test.values), compare(test, before, zone) if before else None)


def entries(
    tests: Sequence[TemplateTest], shown_hash: str, now: datetime, *, going: Going | None, measured: Measured | None
) -> list[Blocks]:
    """`shown_hash`: of the text that is shown now."""
    shown = []
    if going is not None:
        share = going.done / going.total if going.total else 0.0
        shown.append(Blocks([Row(bar(share, BAR_CELLS) + Content(f" {going}")), Row(EMPTY)]))
    elif not tests:
        return [Blocks([Row(Content.styled(NONE, ".quiet"))])]
    if tests and going is None:
        shown.append(_newest(tests[0], shown_hash, measured))
    if tests:
        shown.append(Blocks([_line(test, shown_hash, now) for test in tests]))
    return shown


def _newest(test: TemplateTest, shown_hash: str, measured: Measured | None) -> Blocks:
    mean = _mean(test)
    interval = f"  (95 % interval {measured.low:.3f} to {measured.high:.3f})" if measured else ""
    told: list[Block] = [Row(Content.styled(_words(test.main), ".strong") + Content(f" {mean:.3f}{interval}"))]
    if measured and measured.compared:
        told.append(Row(Content(str(measured.compared))))
    if failed := test.report.get("failed"):
        told.append(Row(Content.styled(f"{counted(failed, 'row')} failed, counted as wrong", ".error")))
    if test.template_hash != shown_hash:
        told.append(Row(Content.styled("of an earlier text than the one above", ".quiet")))
    if classes := _classes(test.report):
        told += [Row(EMPTY), Row(Content.styled("F1 of each class", ".quiet")), *bars(classes, set())]
    return Blocks([*told, Row(EMPTY)])


def _classes(report: Mapping[str, Any]) -> dict[str, float]:
    per_class = report.get("per_class") or report.get("entities", {}).get("per_class") or {}
    return {name: row["f1-score"] for name, row in per_class.items()}


def _line(test: TemplateTest, shown_hash: str, now: datetime) -> Sides:
    mean = _mean(test)
    text = "this text" if test.template_hash == shown_hash else f"text {test.template_hash[:8]}"
    model = test.model.rpartition("/")[2] + (f" + {test.adapter}" if test.adapter else "")
    facts = f"{text} · {len(test.values):,} of {printable(test.data, newlines=False)} · {model}"
    figures = bar(mean, BAR_CELLS) + Content(f" {percent(mean)}  ")
    time = Content.styled(short_time(test.done_ms, now), ".quiet")
    return Sides(figures + Content.styled(facts, ".quiet"), time)


def _mean(test: TemplateTest) -> float:
    return sum(test.values) / len(test.values)


def _words(name: str) -> str:
    return name.replace("_f1", " F1").replace("_", " ")
