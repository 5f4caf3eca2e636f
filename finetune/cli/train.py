"""`finetune train`: a plan first, then the run, or a run that goes on."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

import click

from assistant.cli.output import duration
from finetune.config import TrainConfig
from finetune.progress import Ended, Paused, Planned, Progress, Stepped, Validated, as_line, cut_lines

F = TypeVar("F", bound=Callable[..., Any])
SHORT = {"budget_minutes": "--budget"}
"""Settings whose option is called otherwise."""


def settings(function: F) -> F:
    """An option for each setting of a training."""
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
    """Given several times, or once with commas."""
    return tuple(dict.fromkeys(one.strip() for some in given for one in some.split(",") if one.strip()))


@click.command()
@click.option("--data", "data", default="", help="Name of a dataset, as `finetune data --list` shows.")
@click.option("--resume", "resume_run", default="", help="Go on with this run from its last checkpoint.")
@click.option("-m", "--model", default="", help="Model to train; the one of new conversations where none is given.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what it would take, and train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each event, then one with the result.")
@settings
def command(data: str, resume_run: str, model: str, only_plan: bool, as_json: bool, **given: Any) -> None:
    """Train on a dataset.

    Ctrl-C stops at a checkpoint; `--resume` goes on from there, bit for bit.
    """
    if bool(data) == bool(resume_run):
        raise click.UsageError("Give --data NAME to begin a training, or --resume RUN to go on with one.")
    from assistant import settings as user_settings
    from assistant.cli.opened_log import opened_log
    from assistant.cli.options import model_name
    from assistant.paths import Paths
    from assistant.server.process import SPIN_COUNT

    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    config = TrainConfig(**given)
    paths = Paths.from_environment().create()
    say = events(as_json)
    with opened_log() as db:
        name = "" if resume_run else model_name(db, paths, user_settings.load(paths.config_file), model)
        from finetune import run

        if resume_run:
            done = run.resume(db, paths, resume_run, say)
        else:
            begun = run.begin(db, paths, data, name, config, say, only_plan=only_plan)
            if begun is None:
                return
            done = begun
    result = {"run": done.name, "state": done.state, "adapter_hash": done.adapter_hash, **done.result}
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))


def events(as_json: bool) -> Callable[[Progress], None]:
    """What tells the course of a training: JSON lines, or text for people."""
    return _json if as_json else _Told()


def _json(progress: Progress) -> None:
    click.echo(as_line(progress))


class _Told:
    """The course of a training for people: a line for each look, and one that changes on a terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._cut: list[str] = []

    def __call__(self, progress: Progress) -> None:
        match progress:
            case Planned():
                click.echo(
                    f"{progress.examples:,} examples, {progress.steps:,} steps, {progress.trained_parameters:,} "
                    f"parameters: about {duration(progress.seconds)} and {progress.memory_bytes / 1e9:.1f} GB."
                )
                self._cut = cut_lines(progress.windows, progress.shortened, progress.too_long)
                self._tell_cut()
            case Stepped():
                self._step(progress)
            case Validated():
                self._clear()
                click.echo(f"step {progress.step:>5}  held out {progress.loss:.3f}{'  best' if progress.best else ''}")
            case Paused():
                self._clear()
                click.echo(f"Paused at step {progress.step}.")
            case Ended():
                self._clear()
                click.echo(_end(progress))
                self._tell_cut()

    def _step(self, one: Stepped) -> None:
        line = (
            f"step {one.step:>5} of {one.steps}  loss {one.loss:.3f}  {one.tokens_per_s:,.0f} tokens/s  "
            f"{one.memory_bytes / 1e9:.1f} GB  {duration(one.seconds_left)} left"
        )
        if self._live:
            click.echo(f"\r{line}\x1b[K", nl=False, err=True)

    def _tell_cut(self) -> None:
        for line in self._cut:
            click.echo(line)

    def _clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[K", nl=False, err=True)


def _end(ended: Ended) -> str:
    if ended.state == "stopped":
        return f"Stopped at step {ended.step}. `finetune train --resume {ended.run}` goes on."
    why = {"early": ", as held-out loss no longer fell", "budget": ", as the time was up"}.get(ended.reason, "")
    return f"{ended.run} ended at step {ended.step}{why}. `finetune eval {ended.run}` compares it with its base."
