"""`finetune eval`: compare a finished run's adapter with its base."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from finetune.cli.progress_output import events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlite_utils import Database

    from assistant.paths import Paths
    from assistant.tasks.task import Task
    from finetune.progress import Progress
    from finetune.prove.paired import Measure
    from prompts.template import Template


@click.command()
@click.argument("run")
@click.option("--task", "tasks", multiple=True, help="Also test this template on its labelled set.")
@click.option("--probe", type=click.Path(dir_okay=False, path_type=Path), help="General text to use instead.")
@click.option(
    "--most-tokens", default=0, type=click.IntRange(0), help="Sample a test part with more tokens; 0: use all of it."
)
@click.option("--seed", default=0, show_default=True, help="Random seed of the intervals and the sample.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each step, then the report.")
def command(run: str, tasks: tuple[str, ...], probe: Path | None, most_tokens: int, seed: int, as_json: bool) -> None:
    """Compare a run's adapter with its base, in pairs, on the test part of its dataset.

    Also measured: perplexity of general text, to detect forgetting; your blind votes between the two; whether personal
    data or planted canaries come out. The report is stored in the log, and as report.md and report.html in the run's
    folder.
    """
    from assistant.cli.opened_log import opened_log
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    with opened_log() as db:
        from finetune.prove import prove

        about = prove.subject(db, paths, run)
        more = asyncio.run(tasks_measured(tasks, about.run.model, about.run.name, seed))
        told = proved(db, paths, run, events(as_json), probe=probe, seed=seed, more=more, most_tokens=most_tokens)
    if as_json:
        click.echo(json.dumps({**told, "folder": str(paths.runs / run)}, ensure_ascii=False))
    else:
        show(told)


def proved(
    db: "Database",
    paths: "Paths",
    run: str,
    say: "Callable[[Progress], None]",
    *,
    probe: Path | None = None,
    seed: int = 0,
    more: "Sequence[Measure]" = (),
    most_tokens: int = 0,
) -> dict[str, Any]:
    """Evaluate a run; the report is stored in the log and the run's folder."""
    from finetune.data import forgetting
    from finetune.prove import prove
    from finetune.prove.report import html_page, tables, texts

    told = prove.evaluate(
        db, paths, run, probe=probe or forgetting.PROBE, seed=seed, more=more, most_tokens=most_tokens, say=say
    )
    file = html_page.write(db, paths, run, texts.of_environment())
    file.with_suffix(".md").write_text(tables.markdown(told), encoding="utf-8")
    return told


async def tasks_measured(names: tuple[str, ...], model: str, adapter: str, seed: int) -> "list[Measure]":
    from functools import partial

    from assistant.cli.task_options import find_template
    from assistant.tasks.testing import set_beside
    from finetune.prove.measures import task_measured

    templates = [find_template(name) for name in names]
    return [await task_measured(one, set_beside(one), partial(_opened, one, model), adapter, seed) for one in templates]


def _opened(template: "Template", model: str, adapter: str) -> "AbstractAsyncContextManager[Task]":
    from assistant.cli.shot_options import NONE_SAID
    from assistant.cli.task_options import opened_task

    said = {"model": model, "values": {}, "sampling": {}, "column": "input", "adapter": adapter}
    return opened_task(template, {**NONE_SAID, **said})


def show(told: dict[str, Any]) -> None:
    """Print a report."""
    from assistant.cli.output import print_table
    from finetune.prove.report import tables
    from finetune.prove.report.texts import ENGLISH

    rows = [tables.row(one) for one in told["measures"]]
    print_table(rows, ["", *ENGLISH.columns[1:]])
    if types := tables.types_found(told):
        click.echo(f"{tables.FINDS_NONE}\n")
        print_table(types, list(ENGLISH.entities))
    leaked = told["memorised"]
    click.echo(f"\nLeaked: {len(leaked['leaked'])} of {leaked['probes']} ({leaked['canaries']} canaries).")
    for reason in told["reasons"]:
        click.echo(reason)
    if not told["reasons"]:
        click.echo(f"{ENGLISH.good} `finetune promote {told['run']}`")
    click.echo(f"With plots: `finetune report {told['run']} --open`")
