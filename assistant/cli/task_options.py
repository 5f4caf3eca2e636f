"""What commands that do a template's task over rows have in common: their options, and the task these make."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.options import adapter_option, model_name, pairs, sampling_values
from assistant.cli.shot_options import SHOT_OPTIONS, opened_shots
from assistant.paths import Paths

if TYPE_CHECKING:
    from assistant.tasks.task import Task
    from prompts.template import Template

Command = Callable[..., Any]

MODEL_OPTIONS = (
    click.option("--column", default="input", help="The column that holds the input.", show_default=True),
    click.option("-m", "--model", default="", help="Name or path of a model."),
    adapter_option,
    click.option(
        "-v", "--value", "values", multiple=True, callback=pairs, help="An input of the template: name=value."
    ),
    click.option("--sampling", multiple=True, callback=pairs, help="Sampling: temperature=0, seed=1 …"),
)
_OPTIONS = (
    *MODEL_OPTIONS,
    click.option(
        "--calibration",
        type=click.Choice(["auto", "none", "contextual", "batch", "fitted"]),
        default="auto",
        callback=lambda _ctx, _parameter, given: "" if given == "auto" else given,
        show_default=True,
        help="How probabilities are calibrated; auto: by the inputs themselves where there are ten or more; fitted: on "
        "labelled ones, by `prompts test --calibration fitted`.",
    ),
    *SHOT_OPTIONS,
)


def task_options(command: Command) -> Command:
    """The options of `opened_task`; `calibration` is for a `Batch`."""
    return _with(command, _OPTIONS)


def model_options(command: Command) -> Command:
    """Those without the examples and the calibration, for a command that chooses these itself."""
    return _with(command, MODEL_OPTIONS)


def _with(command: Command, options: Sequence[Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def find_template(name: str) -> "Template":
    """The one of that name, or in the file where `name` ends in .md.

    Raises `TemplateUnknown`, or `TemplateInvalid` where its file is broken.
    """
    from prompts.library import Library
    from prompts.template import load

    if name.endswith(".md"):
        return load(Path(name))
    return Library(Paths.from_environment().create().templates).find(name)


@asynccontextmanager
async def opened_task(template: "Template", options: dict[str, Any]) -> "AsyncGenerator[Task]":
    """The task as the options say; greedy, unless they, the template or its votes say otherwise. Nothing is asked.

    Raises `AdapterError` for an adapter of another model.
    """
    from assistant import settings
    from assistant.adapters.speakers import speaker
    from assistant.client import Client
    from assistant.store.database import open_database
    from assistant.tasks.task import Task, task_sampling

    paths = Paths.from_environment().create()
    chosen = settings.load(paths.config_file)
    with closing(open_database(paths.database)) as db:
        model = model_name(db, paths, chosen, options["model"])
        speaks = speaker(db.conn, model, options["adapter"])
    sampling = task_sampling(template, chosen.sampling, sampling_values(options["sampling"]))
    async with Client(paths, chosen) as client:
        shots = await opened_shots(template, client, model, chosen, options)
        yield Task(client, template, model, speaks, sampling, options["values"], options["column"], shots)
