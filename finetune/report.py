"""A report as Markdown, and as one HTML file with its plots in it."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

VERDICTS = {"better": "better", "worse": "worse", "unclear": "not shown", "too few": "too few conversations"}
Point = tuple[int, Mapping[str, float]]


def markdown(report: Mapping[str, Any]) -> str:
    """The report for a person to read."""
    about, test, told = report["dataset"], report["test"], report["memorised"]
    head = ["measure", "base", "adapter", "difference (95 %)", "examples", "verdict"]
    lines = [
        f"# {report['adapter']} against {report['model']}",
        "",
        _kept(about, test),
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(cells)} |" for cells in map(row, report["measures"])),
        "",
        *_by_type(report),
        f"Given away: {len(told['leaked'])} of {told['probes']} ({told['canaries']} canaries).",
        "",
        *([f"- {reason}" for reason in report["reasons"]] or ["Nothing speaks against using it."]),
        "",
        f"Base {report['base_hash']}, adapter {report['adapter_hash']}, dataset {about['sha256']}, "
        f"seed {report['seed']}, {report['seconds']:.0f} s, "
        + ", ".join(f"{name} {version}" for name, version in report["made_with"].items()),
    ]
    return "\n".join(lines) + "\n"


FINDS_NONE = "The base's figure is that of finding none."
BY_TYPE = ("entity", "precision", "recall", "F1", "of them")


def types_found(report: Mapping[str, Any]) -> list[list[str]]:
    """Of a report on entities a row for each type; else none."""
    per_class = report.get("entities", {}).get("per_class", {})
    return [
        [name, *(f"{one[key]:.2f}" for key in ("precision", "recall", "f1-score")), f"{one['support']:,.0f}"]
        for name, one in per_class.items()
    ]


def _by_type(report: Mapping[str, Any]) -> list[str]:
    rows = types_found(report)
    table = [f"| {' | '.join(cells)} |" for cells in (BY_TYPE, ["---"] * len(BY_TYPE), *rows)]
    return [*table, ""] if rows else []


def _kept(about: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    return (
        f"Dataset {about['name']} ({about['kind']}): {test['examples']:,} examples of {test['groups']:,} "
        "conversations, near-alike ones counted as one, were kept from training."
        + (f" {FINDS_NONE}" if about["kind"] == "entities" else "")
    )


def row(measure: Mapping[str, Any]) -> list[str]:
    """Name, base, adapter, difference with its interval, examples, verdict."""
    name = f"**{measure['name']}**" if measure["main"] else measure["name"]
    return [name, *figures(measure), f"{measure['items']:,}", verdict(measure)]


def figures(measure: Mapping[str, Any]) -> list[str]:
    """Base, adapter, and the difference with its interval: `-43 % (-46 to -40)`, points for shares."""
    if measure["relative"]:
        values = [f"{measure[one]:.2f}" for one in ("base", "adapted")]
    else:
        values = [f"{measure[one]:.1%}" for one in ("base", "adapted")]
    low, high = sorted((measure["low"] * 100, measure["high"] * 100))
    unit = " %" if measure["relative"] else " points"
    return [*values, f"{measure['difference'] * 100:+.1f}{unit} ({low:+.1f} to {high:+.1f})"]


def verdict(measure: Mapping[str, Any]) -> str:
    """In words."""
    if measure["key"] == "forgetting" and measure["verdict"] in ("better", "unclear"):
        return "kept"
    return VERDICTS[measure["verdict"]]


WIDTH, LINE, LEFT = 640, 34, 210


def interval_plot(measures: Sequence[Mapping[str, Any]]) -> str:
    """SVG: each difference as a dot on its interval, what is better to the right of the line."""
    spans = [_towards_better(one) for one in measures]
    reach = max([0.01, *(abs(value) for span in spans for value in span)])
    middle, scale = LEFT + (WIDTH - LEFT - 60) / 2, (WIDTH - LEFT - 60) / 2 / reach
    height = LINE * len(measures) + 40
    parts = [f'<line x1="{middle:.1f}" y1="8" x2="{middle:.1f}" y2="{height - 26}" class="zero"/>']
    for place, (one, (low, at, high)) in enumerate(zip(measures, spans, strict=True)):
        y = LINE * place + 24
        ends = [middle + value * scale for value in (low, at, high)]
        parts += [
            f'<text x="0" y="{y + 4}">{html.escape(one["name"])}</text>',
            f'<line x1="{ends[0]:.1f}" y1="{y}" x2="{ends[2]:.1f}" y2="{y}" class="{_class(one)}"/>',
            f'<circle cx="{ends[1]:.1f}" cy="{y}" r="5" class="{_class(one)}"/>',
        ]
    parts.append(f'<text x="{middle - 60:.1f}" y="{height - 8}" text-anchor="end">worse</text>')
    parts.append(f'<text x="{middle + 60:.1f}" y="{height - 8}">better</text>')
    return _svg(height, parts, "Difference of each measure with its 95 % interval")


def loss_plot(points: Sequence[Point]) -> str:
    """SVG: loss by step, of training and of the validation part; empty where nothing was kept."""
    curves = {name: [(step, figures[name]) for step, figures in points if name in figures]
              for name in ("loss", "validation_loss")}  # fmt: skip
    values = [value for curve in curves.values() for _, value in curve]
    if len(values) < 2:
        return ""
    last, low, high = max(step for step, _ in points) or 1, min(values), max(values)
    height, span = 220, (high - low) or 1.0

    def place(step: int, value: float) -> str:
        return f"{50 + step / last * (WIDTH - 70):.1f},{20 + (high - value) / span * (height - 60):.1f}"

    parts = [
        f'<text x="0" y="24">{high:.2f}</text><text x="0" y="{height - 36}">{low:.2f}</text>',
        f'<text x="{WIDTH - 20}" y="{height - 8}" text-anchor="end">step {last:,}</text>',
    ]
    for name, curve in curves.items():
        if curve:
            parts.append(f'<polyline class="{name}" points="{" ".join(place(*one) for one in curve)}"/>')
    parts.append('<text x="60" y="212" class="loss">training</text>')
    parts.append('<text x="150" y="212" class="validation_loss">held out</text>')
    return _svg(height, parts, "Loss by step")


def page(report: Mapping[str, Any], points: Sequence[Point] = ()) -> str:
    """One HTML file that needs nothing else."""
    return _PAGE.render(
        report=report,
        kept=_kept(report["dataset"], report["test"]),
        rows=[row(one) for one in report["measures"]],
        by_type=BY_TYPE,
        types=types_found(report),
        intervals=interval_plot(report["measures"]),
        loss=loss_plot(points),
    )


def _towards_better(one: Mapping[str, Any]) -> tuple[float, float, float]:
    if one["lower_is_better"]:
        return -one["high"], -one["difference"], -one["low"]
    return one["low"], one["difference"], one["high"]


def _class(one: Mapping[str, Any]) -> str:
    return one["verdict"] if one["verdict"] in ("better", "worse") else "unclear"


def _svg(height: int, parts: Sequence[str], title: str) -> str:
    inside = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}"><title>{title}</title>{inside}</svg>'


_PAGE = jinja2.Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ report.adapter }} against {{ report.model }}</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem .3rem 0 }
th { font-weight: normal; opacity: .7 } small { opacity: .7; overflow-wrap: anywhere }
svg { width: 100%; font-size: 13px } svg text { fill: currentColor }
svg line, svg polyline { stroke: currentColor; stroke-width: 2; fill: none } svg .zero { opacity: .3 }
svg line.better, svg polyline.validation_loss { stroke: #2e8b57 } svg circle.better { fill: #2e8b57 }
svg line.worse { stroke: #c0392b } svg circle.worse { fill: #c0392b } svg circle.unclear { fill: currentColor }
svg text.validation_loss { fill: #2e8b57 } svg polyline.loss { opacity: .5 }
</style>
<h1>{{ report.adapter }} against {{ report.model }}</h1>
<p>{{ kept }}</p>
<table><tr><th>measure<th>base<th>adapter<th>difference (95 %)<th>examples<th>verdict</tr>
{% for cells in rows %}<tr>{% for cell in cells %}<td>{{ cell.strip("*") }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% if types %}<table><tr>{% for name in by_type %}<th>{{ name }}{% endfor %}</tr>
{% for cells in types %}<tr>{% for cell in cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>{% endif %}
{{ intervals|safe }}
<p>Given away: {{ report.memorised.leaked|length }} of {{ report.memorised.probes }}
({{ report.memorised.canaries }} canaries).</p>
{% if report.reasons %}<ul>{% for reason in report.reasons %}<li>{{ reason }}</li>{% endfor %}</ul>
{% else %}<p>Nothing speaks against using it.</p>{% endif %}
{{ loss|safe }}
<p><small>Base {{ report.base_hash }}, adapter {{ report.adapter_hash }}, dataset {{ report.dataset.sha256 }},
seed {{ report.seed }}, {{ report.seconds }} s{% for name, version in report.made_with.items() %}, {{ name }}
{{ version }}{% endfor %}</small></p>
</html>
""")
