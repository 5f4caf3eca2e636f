"""The report of an evaluation as a table: base, retrained, their difference with its interval, and what that means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textual.content import Content

from assistant.safe_text import cell_width, printable

QUIET = "$foreground 60%"
_HEADINGS = ("", "base", "retrained", "difference (95 %)", "")
_GAP = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One measure. `verdict` in a word or two; `good` colours it, None for neither."""

    measure: str
    base: str
    retrained: str
    difference: str = ""
    verdict: str = ""
    good: bool | None = None


def rows(report: Mapping[str, Any]) -> list[Row]:
    """The measures that a report has."""
    told = [_row(one) for one in report.get("measures", ())]
    memorised = report.get("memorised") or {}
    if probes := memorised.get("probes"):
        leaked = len(memorised.get("leaked", ()))
        told.append(
            Row("canaries", "-", f"{leaked} of {probes}", "", "leaked" if leaked else "none leaked", not leaked)
        )
    return told


def _row(measure: Mapping[str, Any]) -> Row:
    verdict_ = str(measure.get("verdict", ""))
    if measure["key"] == "votes":
        won, of = measure["adapted"], measure["items"]
        return Row(
            "you preferred",
            f"{100 - 100 * won:.0f} %",
            f"{100 * won:.0f} %",
            f"of {of:,} blind pairs",
            verdict_,
            _GOOD.get(verdict_),
        )
    difference = f"{_percent(measure['difference'])} ({_percent(measure['low'])} … {_percent(measure['high'])})"
    base, adapted = _figure(measure["base"]), _figure(measure["adapted"])
    return Row(measure["name"], base, adapted, difference, verdict_, _GOOD.get(verdict_))


def verdict(report: Mapping[str, Any]) -> str:
    """The most important of it in a few words, such as `perplexity -43 %`, or `perplexity -1 %, unclear`."""
    main = next((one for one in report.get("measures", ()) if one.get("main")), None)
    if main is None:
        return ""
    told = f"{main['name']} {_percent(main['difference'])}"
    return told if main["verdict"] == "better" else f"{told}, {main['verdict']}"


_GOOD = {"better": True, "worse": False}


def _percent(share: float) -> str:
    return f"{100 * share:+.0f} %" if abs(share) >= 0.095 else f"{100 * share:+.1f} %"


def _figure(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def shown(report: Mapping[str, Any], width: int) -> Content:
    """The table in so many cells."""
    return table(rows(report), width)


def table(measures: Sequence[Row], width: int) -> Content:
    """Columns aligned by cells, cut at the right edge."""
    cells = [[*_HEADINGS], *([printable(cell, newlines=False) for cell in _cells(row)] for row in measures)]
    widths = [max(cell_width(line[column]) for line in cells) + _GAP for column in range(len(_HEADINGS))]
    lines = [Content.styled(_aligned(cells[0], widths), QUIET)]
    for row, line in zip(measures, cells[1:], strict=True):
        style = {None: "", True: "$text-success", False: "$text-error"}[row.good]
        lines.append(Content(_aligned(line[:-1], widths)) + Content.styled(line[-1], style))
    return Content("\n").join([line.truncate(width, ellipsis=True) for line in lines])


def _cells(row: Row) -> tuple[str, ...]:
    return row.measure, row.base, row.retrained, row.difference, row.verdict


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(cell + " " * (width - cell_width(cell)) for cell, width in zip(line, widths, strict=False))
