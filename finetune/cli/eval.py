"""`finetune eval`: a finished run's adapter against its base."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from assistant.tasks import Task
    from finetune.measure import Measure
    from prompts.template import Template


@click.command()
@click.argument("run")
@click.option("--task", "tasks", multiple=True, help="Also a template's task, on the labelled set beside it.")
@click.option("--probe", type=click.Path(dir_okay=False, path_type=Path), help="General text in place of ours.")
@click.option("--seed", default=0, show_default=True, help="Of the intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(run: str, tasks: tuple[str, ...], probe: Path | None, seed: int, as_json: bool) -> None:
    """Compare a run's adapter with its base, in pairs, on the test part of its dataset.

    Also measured: perplexity of general text, for what was forgotten; your blind votes between the two; whether
    personal data or planted canaries come out. The report is kept in the log, and as report.md and report.html in the
    run's folder.
    """
    from assistant.cli.opened_log import opened_log
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    with opened_log() as db:
        from assistant.store import runs
        from finetune import forgetting, prove, report
        from finetune.run_folder import RunFolder

        about = prove.subject(db, paths, run)
        more = asyncio.run(tasks_measured(tasks, about.run.model, about.run.name, seed))
        chosen = probe or forgetting.PROBE
        told = prove.evaluate(db, paths, run, probe=chosen, seed=seed, more=more, say=_say(as_json))
        points = runs.points(db, about.run.id)
    folder = RunFolder(paths, run).create().path
    for name, text in (("report.md", report.markdown(told)), ("report.html", report.page(told, points))):
        (folder / name).write_text(text, encoding="utf-8")
    if as_json:
        click.echo(json.dumps({**told, "folder": str(folder)}, ensure_ascii=False))
    else:
        _print(told, folder, run)


def _say(as_json: bool) -> Any:
    return lambda text: None if as_json else click.echo(f"… {text}", err=True)


async def tasks_measured(names: tuple[str, ...], model: str, adapter: str, seed: int) -> "list[Measure]":
    from functools import partial

    from assistant.batch.testing import set_beside
    from assistant.cli.task_options import find_template
    from finetune import task_metrics

    templates = [find_template(name) for name in names]
    return [
        await task_metrics.measured(one, set_beside(one), partial(_opened, one, model), adapter, seed)
        for one in templates
    ]


def _opened(template: "Template", model: str, adapter: str) -> "AbstractAsyncContextManager[Task]":
    from assistant.cli.shot_options import NONE_SAID
    from assistant.cli.task_options import opened_task

    said = {"model": model, "values": {}, "sampling": {}, "column": "input", "adapter": adapter}
    return opened_task(template, {**NONE_SAID, **said})


def _print(told: dict[str, Any], folder: Path, run: str) -> None:
    from assistant.cli.output import print_table
    from finetune import report

    rows = [[cell.strip("*") for cell in report.row(one)] for one in told["measures"]]
    print_table(rows, ["", "base", "adapter", "difference (95 %)", "examples", ""])
    if types := report.types_found(told):
        click.echo()
        print_table(types, list(report.BY_TYPE))
    leaked = told["memorised"]
    click.echo(f"\nGiven away: {len(leaked['leaked'])} of {leaked['probes']} ({leaked['canaries']} canaries).")
    for reason in told["reasons"]:
        click.echo(reason)
    if not told["reasons"]:
        click.echo(f"Nothing speaks against it: `finetune promote {run}`.")
    click.echo(f"The report is in {folder}.")
