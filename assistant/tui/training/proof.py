"""The report of an evaluation as a table: base, retrained, their difference with its interval, and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textual.content import Content

from assistant.safe_text import cell_width, printable
from finetune.config import FORGETTING_LIMIT

QUIET = "$foreground 60%"
_HEADINGS = ("", "base", "retrained", "difference (95 %)", "")
_GAP = 2
VOTES, FORGETTING, EARLIER = "votes", "forgetting", "earlier"


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
    earlier = (report.get("earlier") or {}).get("measures", ())
    told = [_row(one) for one in (*report.get("measures", ()), *earlier)]
    memorised = report.get("memorised") or {}
    if probes := memorised.get("probes"):
        leaked = len(memorised.get("leaked", ()))
        told.append(
            Row(
                "given away", "-", f"{leaked} of {probes}", "secrets", "leaked" if leaked else "none leaked", not leaked
            )
        )
    return told


def _row(measure: Mapping[str, Any]) -> Row:
    told, good = _verdict(measure)
    if measure["key"] == VOTES:
        difference = f"of {measure['items']:,} blind pairs"
    else:
        shown_ = _percent if measure["relative"] else _points
        difference = f"{shown_(measure['difference'])} ({shown_(measure['low'])} … {shown_(measure['high'])})"
    figure = _figure if measure["relative"] else _share
    if since := measure.get("since"):
        difference += f" since {since}"
    name = f"{measure['name']}, before" if measure["key"] == EARLIER else measure["name"]
    return Row(name, figure(measure["base"]), figure(measure["adapted"]), difference, told, good)


def _verdict(measure: Mapping[str, Any]) -> tuple[str, bool | None]:
    """In words, and whether that is good; general text needn't become better, only stay."""
    verdict_ = measure["verdict"]
    if measure["key"] in (FORGETTING, EARLIER) and verdict_ in (*_GOOD, "too few"):
        worse = measure["difference"] if measure.get("lower_is_better", True) else -measure["difference"]
        kept = worse <= FORGETTING_LIMIT
        return ("kept", None) if kept else ("forgotten", False)
    return ("too few to tell" if verdict_ == "too few" else verdict_), _GOOD.get(verdict_)


def verdict(report: Mapping[str, Any]) -> str:
    """The main measure in a few words, such as `perplexity -43 %`, or `perplexity -1 %, unclear`."""
    main = _main(report)
    if main is None:
        return ""
    told = f"{main['name']} {_difference(main)}"
    return told if main["verdict"] == "better" else f"{told}, {_verdict(main)[0]}"


def better(name: str, report: Mapping[str, Any]) -> str:
    """`mine-3 is better (-38 %)`."""
    main = _main(report)
    return f"{name} is better ({_difference(main)})" if main else f"{name} is better"


def _main(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((one for one in report.get("measures", ()) if one.get("main")), None)


def _difference(measure: Mapping[str, Any]) -> str:
    if measure["relative"]:
        return _percent(measure["difference"])
    return f"{_points(measure['difference'])} points"


_GOOD: Mapping[str, bool | None] = {"better": True, "worse": False, "unclear": None}


def _percent(share: float) -> str:
    return f"{100 * share:+.0f} %" if abs(share) >= 0.095 else f"{100 * share:+.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.0f}"


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _figure(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def shown(report: Mapping[str, Any], width: int) -> Content:
    """The table in so many cells, and under it the reasons not to use the adapter."""
    told = [Content(printable(reason, newlines=False)) for reason in report.get("reasons", ())]
    return Content("\n").join([table(rows(report), width), *([Content("")] if told else []), *told])


def table(measures: Sequence[Row], width: int) -> Content:
    """Columns aligned by cells, cut at the right edge."""
    cells = [[*_HEADINGS], *([printable(cell, newlines=False) for cell in _cells(row)] for row in measures)]
    widths = [max(cell_width(line[column]) for line in cells) + _GAP for column in range(len(_HEADINGS))]
    lines = [Content.styled(_aligned(cells[0], widths).rstrip(), QUIET)]
    for row, line in zip(measures, cells[1:], strict=True):
        style = {None: "", True: "$text-success", False: "$text-error"}[row.good]
        lines.append(Content(_aligned(line[:-1], widths)) + Content.styled(line[-1], style))
    return Content("\n").join([line.truncate(width, ellipsis=True) for line in lines])


def _cells(row: Row) -> tuple[str, ...]:
    return row.measure, row.base, row.retrained, row.difference, row.verdict


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(cell + " " * (width - cell_width(cell)) for cell, width in zip(line, widths, strict=False))
