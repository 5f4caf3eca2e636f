"""What commands that do a template's task over rows have in common: their options, and the task these make."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.options import model_name, pairs, sampling_values
from assistant.paths import Paths

if TYPE_CHECKING:
    from assistant.tasks import Task
    from prompts.template import Template

Command = Callable[..., Any]

_OPTIONS = (
    click.option("--column", default="input", help="The column that holds the input.", show_default=True),
    click.option("-m", "--model", default="", help="Name or path of a model."),
    click.option("-a", "--adapter", default="", help="Name of an adapter of that model."),
    click.option(
        "-v", "--value", "values", multiple=True, callback=pairs, help="An input of the template: name=value."
    ),
    click.option("--sampling", multiple=True, callback=pairs, help="Sampling: temperature=0, seed=1 …"),
    click.option(
        "--calibration",
        type=click.Choice(["auto", "none", "contextual", "batch"]),
        default="auto",
        callback=lambda _ctx, _parameter, given: "" if given == "auto" else given,
        show_default=True,
        help="How probabilities are calibrated; auto: by the inputs themselves where there are ten or more.",
    ),
)


def task_options(command: Command) -> Command:
    """The options of `opened_task`; `calibration` is for a `Batch`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def find_template(name: str) -> "Template":
    """Raises `TemplateUnknown`, or `TemplateInvalid` where its file is broken."""
    from prompts.library import Library

    return Library(Paths.from_environment().create().templates).find(name)


@asynccontextmanager
async def opened_task(template: "Template", options: dict[str, Any]) -> "AsyncGenerator[Task]":
    """The task as the options say, greedy unless they or the template say otherwise. Nothing is asked yet."""
    from assistant import settings
    from assistant.client import Client
    from assistant.store.database import open_database
    from assistant.tasks import Task, task_sampling

    paths = Paths.from_environment().create()
    chosen = settings.load(paths.config_file)
    with closing(open_database(paths.database)) as db:
        model = model_name(db, paths, chosen, options["model"])
    sampling = task_sampling(template, chosen.sampling, sampling_values(options["sampling"]))
    async with Client(paths, chosen) as client:
        yield Task(client, template, model, sampling, options["values"], options["adapter"], options["column"])
