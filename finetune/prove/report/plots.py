"""Plots of a report as SVG, with the colours and fonts of the page.

Uses matplotlib: 75 MB beside torch's gigabytes, imported in 0.4 s, and a page of about 60 kB that works offline.
Plotly's JavaScript would make each page 4.8 MB, and trackio (0.4 s, 34 packages) is a server for dashboards.
"""

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from finetune.prove.report.tables import name_of
from finetune.prove.report.texts import Texts

Point = tuple[int, Mapping[str, float]]
"""(step, figures), as stored in the log."""

TEXT, TRAIN, HELD_OUT, GOOD, BAD, QUIET = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
"""Placeholders that are replaced by the page's CSS variables."""
VARIABLES = {
    TEXT: "currentColor",
    TRAIN: "var(--train)",
    HELD_OUT: "var(--held-out)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
    QUIET: "var(--quiet)",
}
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.color": TEXT,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "path.simplify": True,
}
WIDTH, LOSS_HEIGHT, SMALL_HEIGHT, ROW_HEIGHT = 7.2, 2.6, 1.2, 0.42
"""Inches; scaled to the width of the page."""
SHOWN_AT_LEAST = 2.0
"""Smallest range of the axis of differences to each side, in percent."""


def course(points: Sequence[Point], texts: Texts) -> str:
    """Loss, learning rate and speed by step, stacked; empty with fewer than two steps."""
    curves = {name: _curve(points, name) for name in ("loss", "validation_loss", "learning_rate", "tokens_per_s")}
    if len(curves["loss"][0]) < 2:
        return ""
    small = [(curves[name], title) for name, title in _small(texts) if len(curves[name][0]) > 1]
    heights = [LOSS_HEIGHT, *[SMALL_HEIGHT for _ in small]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        _loss(rows[0], curves, texts)
        for axes, (curve, title) in zip(rows[1:], small, strict=True):
            axes.plot(*curve, color=TRAIN, linewidth=1)
            axes.set_title(title)
            axes.set_ylim(bottom=0)
        rows[-1].set_xlabel(texts.step)
        rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure, texts.course)


def _small(texts: Texts) -> Sequence[tuple[str, str]]:
    return ("learning_rate", texts.learning_rate), ("tokens_per_s", texts.speed)


def _loss(axes: Axes, curves: Mapping[str, Any], texts: Texts) -> None:
    axes.plot(*curves["loss"], color=TRAIN, linewidth=1, label=texts.train)
    if curves["validation_loss"][0]:
        axes.plot(*curves["validation_loss"], color=HELD_OUT, marker="o", markersize=4, label=texts.held_out)
    axes.set_title(texts.loss)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def _curve(points: Sequence[Point], name: str) -> tuple[list[int], list[float]]:
    found = [(step, figures[name]) for step, figures in points if math.isfinite(figures.get(name, math.nan))]
    return [step for step, _ in found], [value for _, value in found]


def differences(measures: Sequence[Mapping[str, Any]], texts: Texts) -> str:
    """Each measure's difference with its 95 % interval, in percent or points; better is to the right."""
    if not measures:
        return ""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, ROW_HEIGHT * len(measures) + 0.7), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=QUIET, linewidth=1)
        for place, one in enumerate(measures):
            low, at, high = towards_better(one)
            colour = {"better": GOOD, "worse": BAD}.get(one["verdict"], TEXT)
            axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([100 * at], [place], color=colour, marker="o", markersize=6)
        names = [name_of(one, texts) for one in measures]
        axes.set_yticks(range(len(measures)), names)
        axes.set_ylim(len(measures) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.tick_params(left=False)
        axes.set_xlabel(texts.better, loc="right")
        axes.set_xlim(*_reach(measures))
        return _svg(figure, texts.differences)


def _reach(measures: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Limits of the axis: a little beyond the widest interval, and wide enough that noise doesn't look large."""
    ends = [100 * end for one in measures for end in towards_better(one)]
    low, high = min(-SHOWN_AT_LEAST, *ends), max(SHOWN_AT_LEAST, *ends)
    return low - (high - low) / 20, high + (high - low) / 20


def towards_better(measure: Mapping[str, Any]) -> tuple[float, float, float]:
    """(low, difference, high), positive if the adapter is better."""
    if measure["lower_is_better"]:
        return -measure["high"], -measure["difference"], -measure["low"]
    return measure["low"], measure["difference"], measure["high"]


def _svg(figure: Figure, title: str) -> str:
    """The figure as inline SVG with CSS colours and without a fixed size."""
    written = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has fonts for Chinese
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    size = re.compile(r' (width|height)="[\d.]+pt"')
    return size.sub("", text, count=2).replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
