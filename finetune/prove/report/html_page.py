"""A run's report as a self-contained HTML file: figures, plots, objections, origin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from sqlite_utils import Database

from assistant.errors import TrainingError
from assistant.paths import Paths
from assistant.store.training import datasets, runs
from assistant.store.training.runs import Run
from finetune.config import TrainConfig
from finetune.prove.objections import verdicts
from finetune.prove.report import plots, tables
from finetune.prove.report.plots import Point
from finetune.prove.report.texts import Texts
from finetune.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Subject:
    """The run to report on. `report`: None if the run was not evaluated."""

    run: Run
    dataset: str
    points: Sequence[Point]
    report: Mapping[str, Any] | None


def subject(db: Database, run_name: str) -> Subject:
    """A run from the log. Raises `StoreError` if there is none of that name."""
    run = runs.get(db, run_name)
    evaluation = runs.evaluation(db, run.id)
    if evaluation is not None and run.adapter_hash and evaluation.adapter_hash != run.adapter_hash:
        evaluation = None  # of an adapter saved before the run was resumed
    dataset = datasets.by_id(db, run.dataset_id)
    report = evaluation.report if evaluation else None
    return Subject(run, dataset.name if dataset else "", runs.points(db, run.id), report)


def write(db: Database, paths: Paths, run_name: str, texts: Texts, file: Path | None = None) -> Path:
    """Write the page into `file` or the run's folder, and return its path. Raises `TrainingError` if that fails."""
    about = subject(db, run_name)
    target = file or RunFolder(paths, run_name).create().path / "report.html"
    try:
        target.write_text(page(about, texts), encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"The report can't be written to {target}: {error.strerror}.") from error
    return target


def page(about: Subject, texts: Texts) -> str:
    """The page as HTML."""
    report = about.report
    measures = tables.measures(report) if report else []
    return _PAGE.render(
        texts=texts,
        title=texts.title.format(run=about.run.name, model=about.run.model),
        untested=texts.untested.format(run=about.run.name),
        report=report,
        kept_apart=_kept_apart(report, texts) if report else "",
        rows=[(one["main"], tables.row(one, texts)) for one in measures],
        types=tables.types_found(report) if report else [],
        differences=plots.differences(measures, texts),
        deleted=tables.deleted(report, texts) if report else "",
        given_away=_given_away(report, texts) if report else "",
        reasons=verdicts(report, texts=texts) if report else [],
        course=plots.course(about.points, texts),
        facts=facts(about, texts),
    )


def _kept_apart(report: Mapping[str, Any], texts: Texts) -> str:
    test = report["test"]
    return texts.kept_apart.format(examples=test["examples"], of=test.get("of", test["examples"]))


def _given_away(report: Mapping[str, Any], texts: Texts) -> str:
    told = report["memorised"]
    return texts.given_away.format(**{**told, "leaked": len(told["leaked"])})


def facts(about: Subject, texts: Texts) -> list[tuple[str, str]]:
    """(label, text) of the run's origin and result, without unknown values."""
    run, report = about.run, about.report or {}
    config = TrainConfig.from_json(run.config.get("settings", {}))
    done = max((step for step, _ in about.points), default=0)
    planned = max(done, int(run.config.get("shape", {}).get("steps", 0)))
    ended = "finished" if done == planned else str(run.result.get("reason", "stopped"))
    loss = run.result.get("validation_loss")
    values = {
        "model": run.model,
        "dataset": about.dataset,
        "start": run.config.get("start", {}).get("adapter", ""),
        "method": config.method if config.changes_base else f"{config.method}, r = {config.rank}",
        "steps": texts.ends.get(ended, texts.ends["stopped"]).format(steps=done, planned=planned) if done else "",
        "time": f"{run.result['seconds']:,.0f} s" if "seconds" in run.result else "",
        "best": f"{loss:.3f}" if isinstance(loss, int | float) else "",
        "base": run.base_hash,
        "adapter": run.adapter_hash,
        "versions": ", ".join(f"{name} {version}" for name, version in report.get("made_with", {}).items()),
    }
    return [(texts.facts[key], text) for key, text in values.items() if text]


_PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""<!doctype html>
<html lang="{{ texts.language }}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif;
  --train: #7a8aa0; --held-out: #c2571a; --good: #2e8b57; --bad: #c0392b; --quiet: #9a9a9a }
body { max-width: 48rem; margin: 2rem auto; padding: 0 1rem } h1 { font-size: 1.5rem } h2 { font-size: 1.1rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .8rem .3rem 0;
  vertical-align: top } th { font-weight: normal; opacity: .7 } .main td:first-child { font-weight: bold }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem } dt { opacity: .7 }
dd { margin: 0; overflow-wrap: anywhere } figure { margin: 0 } svg { width: 100%; height: auto }
svg text { font-family: system-ui, sans-serif !important } .good { color: var(--good) } .bad { color: var(--bad) }
</style>
<h1>{{ title }}</h1>
{% if report %}
{% for reason in reasons %}<p class="bad">{{ reason }}</p>
{% else %}<p class="good">{{ texts.good }}</p>
{% endfor %}
<table><tr>{% for name in texts.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for main, cells in rows %}
<tr{% if main %} class="main"{% endif %}>{% for cell in cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
<p>{{ kept_apart }} {{ given_away }} {{ deleted }}</p>
{% if types %}
<table><tr>{% for name in texts.entities %}<th>{{ name }}</th>{% endfor %}</tr>
{% for cells in types %}
<tr>{% for cell in cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endif %}
<h2>{{ texts.differences }}</h2>
<figure>{{ differences|safe }}</figure>
{% else %}
<p>{{ untested }}</p>
{% endif %}
{% if course %}
<h2>{{ texts.course }}</h2>
<figure>{{ course|safe }}</figure>
{% endif %}
<dl>{% for label, text in facts %}<dt>{{ label }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
</html>
""")
