"""`assistant run`: a template's task for every row of a file."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.kept_tests import fitted_calibration
from assistant.cli.options import progress_bar
from assistant.cli.output import as_json, counted, print_json
from assistant.cli.task_options import find_template, opened_task, task_options
from assistant.errors import AssistantError

if TYPE_CHECKING:
    from assistant.tasks.run import Batch

STANDARD = "-"


@click.command("run")
@click.argument("template")
@click.option("-i", "--input", "source", required=True, help="A .jsonl, .csv or .txt file; - for standard input.")
@click.option("-o", "--output", "target", default=STANDARD, help="A .jsonl or .csv file. [default: standard output]")
@task_options
@as_json
def command(template: str, source: str, target: str, as_json: bool, **options: Any) -> None:
    """Do a template's task for every row of a file.

    An output row is the input row with `prediction`, for labels and scores `probabilities`, and `error` where it
    failed. A run that was stopped goes on where it was when the same command is given again.

    assistant run sentiment -i reviews.csv --column text -o out.csv
    """
    with input_file(source) as path:
        batch = asyncio.run(_run(template, path, target, options))
    told = {"rows": batch.total, "failed": batch.failed, "resumed": batch.resumed, "calibration": batch.method}
    told |= {"examples_left_out": batch.left_out} if batch.left_out else {}
    if as_json and target != STANDARD:
        who = {"model": batch.task.model, "adapter": batch.task.adapter}
        print_json({**told, **who, "output": target})
    else:
        failed = f", {batch.failed:,} of them with an error" if batch.failed else ""
        click.echo(f"{counted(batch.total, 'row')}{failed}; calibration: {batch.method}.", err=True)
        if batch.left_out:
            click.echo(f"{counted(batch.left_out, 'example')} left out: the model's context is full.", err=True)


async def _run(name: str, source: Path, target: str, options: dict[str, Any]) -> "Batch":
    from assistant.tasks.rows import write, write_jsonl
    from assistant.tasks.run import Batch

    output = output_file(target)
    async with AsyncExitStack() as stack:
        task = await stack.enter_async_context(opened_task(find_template(name), options))
        folder = output.parent if output else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        journal = folder / f"{output.name if output else 'output'}.journal"
        batch = Batch(task, source, options["calibration"], journal)
        kept = fitted_calibration(task, options)
        with progress_bar() as progress:
            await batch.ask(lambda done: progress(done, batch.total))
        predictions = await batch.predictions((lambda _: kept) if kept else None)
        write(output, predictions, batch.columns) if output else write_jsonl(sys.stdout, predictions)
        batch.end()
    return batch


def output_file(target: str) -> Path | None:
    """The file to write, None for standard output."""
    from assistant.tasks.rows import WRITABLE

    if target == STANDARD:
        return None
    path = Path(target)
    if path.suffix.lower() not in WRITABLE:
        raise AssistantError(f"{target}: the output is a {' or '.join(WRITABLE)} file. Name it so.")
    if not path.parent.is_dir():
        raise AssistantError(f"{path.parent} is no folder. Make it first.")
    return path


@contextmanager
def input_file(source: str) -> Iterator[Path]:
    """The file of inputs; standard input is kept in one, as it is read twice."""
    if source != STANDARD:
        yield Path(source)
        return
    first = sys.stdin.buffer.readline()
    suffix = ".jsonl" if first.lstrip().startswith(b"{") else ".txt"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "standard-input" + suffix)
        with path.open("wb") as file:
            file.write(first)
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield path
