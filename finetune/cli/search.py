"""`finetune search`: search settings for a training by trials."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any, get_args

import click

from finetune.config import Method, TrainConfig

if TYPE_CHECKING:
    from finetune.search import Found, Trial


@click.command()
@click.option("--data", required=True, help="Name of a dataset, as `finetune data --list` shows.")
@click.option("-m", "--model", default="", help="Model to train; default: the model of new conversations.")
@click.option("--method", type=click.Choice(get_args(Method)), default="lora", show_default=True,
              help="Method of training, see `finetune train --help`.")  # fmt: skip
@click.option(
    "--budget", default=30.0, show_default=True, type=click.FloatRange(min=0), help="Minutes; 0: run no trial."
)
@click.option("--trials", default=0, type=click.IntRange(min=0), help="Most trials; 0: as many as time allows.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the trials and the search.")
@click.option("--train", "train", is_flag=True, help="Then train with the best settings and keep the adapter.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each trial, then the best.")
def command(
    data: str, model: str, method: Method, budget: float, trials: int, seed: int, train: bool, as_json: bool
) -> None:
    """Search learning rate, rank, dropout, epochs and schedule by the loss on the validation part.

    Trials are stored: the next search on the same dataset, model and method continues. Ctrl-C ends it and keeps
    finished trials. Needs Optuna: pip install 'assistant-loop[search]'.
    """
    from assistant import settings as user_settings
    from assistant.cli.opened_log import opened_log
    from assistant.cli.options import model_name
    from assistant.paths import Paths

    config = TrainConfig(method=method, seed=seed)
    paths = Paths.from_environment().create()
    with opened_log() as db:
        name = model_name(db, paths, user_settings.load(paths.config_file), model)
        from finetune import search

        found = search.search(db, paths, data, name, config, budget, trials, _say_json if as_json else _say)
        told = _told(found)
        if not as_json:
            _print(found, data, name)
        if train and found.config and not found.stopped:
            from finetune.cli.progress_output import events
            from finetune.train import run

            done = run.begin(db, paths, data, name, found.config, events(as_json))
            told |= {"run": done.name if done else ""}
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))


def _told(found: "Found") -> dict[str, Any]:
    best = dataclasses.asdict(found.best) if found.best else None
    return {"trials": len(found.trials), "stopped": found.stopped, "best": best}


def _say_json(trial: "Trial") -> None:
    click.echo(json.dumps({"event": "trial", **dataclasses.asdict(trial)}))


def _say(trial: "Trial") -> None:
    from assistant.cli.output import duration

    loss = "no loss" if trial.loss is None else f"held out {trial.loss:.3f}"
    click.echo(f"trial {trial.number:>3}  {loss}  {trial.state:<8}  {duration(trial.seconds):>10}  {_settings(trial)}")


def _settings(trial: "Trial") -> str:
    return "  ".join(f"{name} {_short(value)}" for name, value in trial.settings.items())


def _short(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _print(found: "Found", data: str, model: str) -> None:
    best = found.best
    if best is None:
        click.echo("No trial reached a validation measurement. Give a larger --budget.")
        return
    if best.state != "complete":
        click.echo("No trial was completed, so this is only the best so far. Give a larger --budget.")
    click.echo(f"Best of {len(found.trials)}: trial {best.number}, held out {best.loss:.3f}.")
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in best.settings.items())
    config = found.config or TrainConfig()
    click.echo(
        f"finetune train --data {data} -m {model} --method {config.method} {options} "
        f"--seed {config.seed} --validate-every {config.validate_every}"
    )
