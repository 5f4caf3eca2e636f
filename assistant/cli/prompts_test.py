"""`assistant prompts test`: how good a template is, on a labelled set."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.opened_log import opened_log
from assistant.cli.options import progress_bar
from assistant.cli.output import as_json, print_json, print_table
from assistant.cli.task_options import find_template, opened_task, task_options
from assistant.errors import AssistantError

if TYPE_CHECKING:
    from assistant.batch.evaluation import Evaluation
    from assistant.store.template_tests import TemplateTest


@click.command("test")
@click.argument("template")
@click.option("-d", "--data", default="", help="A .jsonl or .csv file. [default: the set beside the template]")
@task_options
@as_json
def test(template: str, data: str, as_json: bool, **options: Any) -> None:
    """Measure a template on a labelled set, and compare it with the test before.

    Rows have an `input`, and a `label` (of kinds label and score) or a `reference` (of the others). The result is kept,
    and the next test on the same set, of a changed template, another model or adapter, is compared with it in pairs.
    """
    result, evaluation, before = asyncio.run(_test(template, data, options))
    compared = _compared(result, before)
    if as_json:
        told = {"template": template, "model": result.model, "adapter": result.adapter, "data": result.data}
        main = {"value": evaluation.value, "low": evaluation.low, "high": evaluation.high}
        print_json({**told, "items": len(result.values), **result.report, result.main: main, "before": compared})
        return
    about = f"{template} with {result.model}{' and ' + result.adapter if result.adapter else ''}"
    click.echo(f"{about}: {len(result.values):,} items of {result.data}")
    click.echo(
        f"{_words(result.main)} {evaluation.value:.3f} (95 % interval {evaluation.low:.3f} to {evaluation.high:.3f})"
    )
    _show(result.report, result.main)
    if compared:
        verdict = "better" if compared["low"] > 0 else "worse" if compared["high"] < 0 else "no difference is shown"
        interval = f"{compared['difference']:+.3f} ({compared['low']:+.3f} to {compared['high']:+.3f})"
        click.echo(f"\nagainst {compared['against']}: {interval}: {verdict}")


async def _test(
    name: str, data: str, options: dict[str, Any]
) -> "tuple[TemplateTest, Evaluation, TemplateTest | None]":
    from assistant.batch.evaluation import check, evaluate
    from assistant.batch.rows import rows
    from assistant.batch.run import Batch
    from assistant.store import template_tests
    from assistant.store.template_tests import TemplateTest

    template = find_template(name)
    source = Path(data) if data else set_beside(template.path)
    check(template, rows(source), str(source))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        task = await stack.enter_async_context(opened_task(template, options))
        batch = Batch(task, source, options["calibration"], folder / "journal")
        with progress_bar() as progress:
            await batch.ask(lambda done: progress(done, batch.total))
        predicted = list(await batch.predictions())
    evaluation = evaluate(template, predicted, task.column)
    how = {"calibration": batch.method, "values": dict(task.values), "sampling": task.sampling.as_dict()}
    what = (name, template.hash, task.model, task.adapter, how, source.name, batch.digest)
    report = {**evaluation.report, "calibration": batch.method, "failed": batch.failed}
    result = TemplateTest(*what, evaluation.main, evaluation.values, report)
    with opened_log() as db:
        before = template_tests.earlier(db, result)
        template_tests.add(db, result)
    return result, evaluation, before


def set_beside(path: Path | None) -> Path:
    beside = path.with_suffix(".jsonl") if path else None
    if beside is None or not beside.is_file():
        raise AssistantError("There is no labelled set beside this template. Name one: --data FILE.")
    return beside


def _compared(test: "TemplateTest", before: "TemplateTest | None") -> dict[str, Any] | None:
    from datetime import datetime

    from prompts.metrics import paired

    if before is None:
        return None
    difference, low, high = paired(before.values, test.values)
    changed = [
        f"template {before.template_hash[:8]}" if before.template_hash != test.template_hash else "",
        before.model if before.model != test.model else "",
        (before.adapter or "no adapter") if before.adapter != test.adapter else "",
        "other settings" if before.settings != test.settings else "",
    ]
    when = datetime.fromtimestamp(before.done_ms / 1000).strftime("%Y-%m-%d %H:%M")
    against = f"{', '.join(filter(None, changed))} on {when}"
    return {"against": against, "difference": difference, "low": low, "high": high}


def _show(report: Mapping[str, Any], main: str) -> None:
    plain = {name: value for name, value in report.items() if not isinstance(value, dict | list) and name != main}
    click.echo(", ".join(f"{_words(name)} {value:.3f}" if isinstance(value, float) else f"{_words(name)} {value}"
                         for name, value in plain.items()))  # fmt: skip
    entities = report.get("entities", {})
    if entities:
        click.echo(", ".join(f"{name} {entities[name]:.3f}" for name in ("precision", "recall", "f1")))
    if per_class := report.get("per_class") or entities.get("per_class"):
        rows = [
            [name, *(f"{row[key]:.2f}" for key in ("precision", "recall", "f1-score")), f"{row['support']:.0f}"]
            for name, row in per_class.items()
        ]
        click.echo()
        print_table(rows, ["class", "precision", "recall", "F1", "items"])
    if confusion := report.get("confusion"):
        names = list(report["per_class"])
        click.echo()
        print_table(
            [[name, *map(str, row)] for name, row in zip(names, confusion, strict=True)], ["is \\ said", *names]
        )


def _words(name: str) -> str:
    return name.replace("_f1", " F1").replace("_", " ")
