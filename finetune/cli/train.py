"""`finetune train`: train on a dataset after showing a plan, or resume a run."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args, get_origin

import click
from click.core import ParameterSource

from finetune.cli.progress_output import events
from finetune.config import TrainConfig
from finetune.progress import Advanced

F = TypeVar("F", bound=Callable[..., Any])
PROVE_TOKENS = 24_000
"""Tokens of the test part to use for --prove: more take over a minute on two cores, and narrow the interval little."""
SHORT = {"budget_minutes": "--budget", "replay_share": "--earlier-share"}
"""Settings with a different option name."""


def settings(function: F) -> F:
    """Add an option for each field of `TrainConfig`, with its docstring as help."""
    from assistant.cli.field_docs import meanings

    docs = meanings(TrainConfig)
    for one in reversed(dataclasses.fields(TrainConfig)):
        name = SHORT.get(one.name, "--" + one.name.replace("_", "-"))
        told: dict[str, Any] = {"help": docs.get(one.name, ""), "default": one.default, "show_default": True}
        if isinstance(one.default, tuple):
            told |= {"multiple": True, "show_default": False, "callback": _listed}
        elif isinstance(one.default, bool):
            told |= {"is_flag": True}
        elif get_origin(one.type) is not None:
            told |= {"type": click.Choice(get_args(one.type))}
        function = click.option(name, one.name, **told)(function)
    return function


def _listed(_ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Values of an option given several times or with commas, without duplicates."""
    return tuple(dict.fromkeys(one.strip() for some in given for one in some.split(",") if one.strip()))


def _explicit(names: Iterable[str]) -> set[str]:
    """Names of the options that are on the command line."""
    source = click.get_current_context().get_parameter_source
    return {one for one in names if source(one) is ParameterSource.COMMANDLINE}


@click.command()
@click.option("--data", "data", default="", help="Name of a dataset, as `finetune data --list` shows.")
@click.option("--resume", "resume_run", default="", help="Resume this run from its last checkpoint.")
@click.option(
    "--from",
    "start",
    default="",
    metavar="base|in-use|NAME",
    help="Where to start: the base model (`base`, default), the adapter in use, or an adapter by name. Earlier "
    "datasets of the adapter are replayed.",
)
@click.option("-m", "--model", default="", help="Model to train; default: the model of new conversations.")
@click.option("--plan", "only_plan", is_flag=True, help="Show the plan and train nothing.")
@click.option("--prove", is_flag=True, help="Then evaluate on a sample, as `finetune eval` does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each event, then the result.")
@settings
def command(
    data: str, resume_run: str, start: str, model: str, only_plan: bool, prove: bool, as_json: bool, **given: Any
) -> None:
    """Train on a dataset.

    Ctrl-C stops at a checkpoint; `--resume` continues with bitwise the same result.
    """
    if bool(data) == bool(resume_run):
        raise click.UsageError("Give --data NAME to begin a training, or --resume RUN to resume a run.")
    if resume_run and start:
        raise click.UsageError("A run resumes from its own checkpoint: give --from only with --data.")
    from assistant import settings as user_settings
    from assistant.cli.opened_log import opened_log
    from assistant.cli.options import model_name
    from assistant.paths import Paths

    config = TrainConfig(**given)
    paths = Paths.from_environment().create()
    say = events(as_json)
    with opened_log() as db:
        name = "" if resume_run else model_name(db, paths, user_settings.load(paths.config_file), model)
        if not resume_run:
            from finetune.train.expected import expected

            say(expected(db, paths, data, name, config))
        say(Advanced("loading torch"))
        from finetune.train import run

        say(Advanced("reading the data and the model"))
        if resume_run:
            done = run.resume(db, paths, resume_run, say)
        else:
            begun = run.begin(
                db, paths, data, name, config, say, only_plan=only_plan, start=start or "base", given=_explicit(given)
            )
            if begun is None:
                return
            done = begun
        result = {"run": done.name, "state": done.state, "adapter_hash": done.adapter_hash, **done.result}
        if prove and done.state == "finished":
            from finetune.cli.eval import proved, show

            report = proved(db, paths, done.name, say, most_tokens=PROVE_TOKENS)
            result["proof"] = report
            if not as_json:
                show(report)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
