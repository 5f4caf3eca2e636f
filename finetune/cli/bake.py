"""`finetune bake`: a template's behaviour into the weights, and how much of it got there."""

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.log_redact import words_option
from assistant.cli.options import model_name, pairs, progress_bar
from assistant.cli.output import counted, print_table
from finetune.cli.data import replay_file, replay_options, tell
from finetune.cli.events import events
from finetune.cli.train import settings
from finetune.config import TrainConfig

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.paths import Paths
    from assistant.store.redaction.redactor import Redactor
    from assistant.store.training.datasets import Dataset
    from finetune.bake import Answers, Asked, Reached, Recipe
    from finetune.data.dataset import Request


@click.command()
@click.argument("template")
@click.option(
    "--data", "file", type=click.Path(path_type=Path), help="A .jsonl, .csv or .txt file of inputs, instead of the log."
)
@click.option("--column", default="input", show_default=True, help="The column that holds the input.")
@click.option("--name", "-n", default="", help="Of the dataset; the run is called by it.")
@click.option("-v", "--value", "values", multiple=True, callback=pairs, help="An input of the template: name=value.")
@click.option("--resume", "resume_run", default="", help="Go on with this run of a bake, or only tell its gap again.")
@replay_options
@click.option("--keep-personal", is_flag=True, help="Leave personal data as it is; else placeholders stand for it.")
@words_option
@click.option("-m", "--model", default="", help="Model to train; the one of new conversations where none is given.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each event, then one with the result.")
@settings
def command(
    template: str,
    file: Path | None,
    column: str,
    name: str,
    values: dict[str, str],
    resume_run: str,
    replay: str | None,
    text_share: float,
    keep_personal: bool,
    words: tuple[str, ...],
    model: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Train the model to reply without a template as it does with it.

    The base answers each input with the template, of kind chat or text: those of a file, or what the conversations of
    the log began with. The bare inputs and these replies are frozen as a dataset and trained on. Told is how much of
    the gap between the base without the template and with it is closed on replies that were held out. The same command
    again uses the replies that are there, and trains anew.
    """
    if bool(name) == bool(resume_run):
        raise click.UsageError("Give --name NAME to begin, or --resume RUN to go on with a run.")
    from assistant import settings as user_settings
    from assistant.cli.log_redact import redactor
    from assistant.cli.opened_log import opened_log
    from assistant.cli.task_options import find_template
    from assistant.paths import Paths
    from assistant.server.process import SPIN_COUNT

    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    config = TrainConfig(**given)
    paths = Paths.from_environment().create()
    with opened_log() as db:
        from assistant.store.training import runs
        from finetune import bake
        from finetune.train import run

        recipe = bake.Recipe(find_template(template), values)
        bake.refuse_training(paths, config)
        told: dict[str, Any] = {}
        if resume_run:
            done = runs.get(db, resume_run)
            if done.state != "finished":
                done = run.resume(db, paths, resume_run, events(as_json))
        else:
            asked = model_name(db, paths, user_settings.load(paths.config_file), model)
            redact = None if keep_personal else redactor(db, words)
            request = bake.request_of(recipe, file, asked, config.seed, replay_file(replay), text_share)
            of = _dataset(db, paths, name, recipe, request, column, redact)
            told = {one: of.statistics[one] for one in ("examples", "left_out", "personal_places", "replayed")}
            if not as_json:
                tell(of.statistics)
            begun = run.begin(db, paths, name, asked, config, events(as_json))
            assert begun is not None  # as for a plan alone
            done = begun
        told |= {"run": done.name, "state": done.state, "adapter_hash": done.adapter_hash}
        if done.state == "finished":
            found = bake.reached(db, paths, done.name, recipe, seed=config.seed)
            told |= found.as_json()
            if not as_json:
                _say_reached(found)
        elif not as_json:
            click.echo(f"With `finetune bake {template} --resume {done.name}` it goes on, and the gap is told.")
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))


def _dataset(
    db: "Database",
    paths: "Paths",
    name: str,
    recipe: "Recipe",
    request: "Request",
    column: str,
    redact: "Redactor | None",
) -> "Dataset":
    """The replies, frozen; those that are there already under this name."""
    from finetune import bake
    from finetune.base import opened_base

    if there := bake.there_already(db, name, recipe, request):
        click.echo(f"The replies of {name} are there: they are learned again.", err=True)
        return there
    model = request.baked
    tokenizer = opened_base(paths, model).tokenizer_of_rows()
    found = bake.inputs_of_file(request.files[0], column) if request.files else bake.inputs_of_log(db)
    inputs = bake.ready(db, list(found), request, redact)
    answers = asyncio.run(_answers(recipe, inputs, model, request.seed))
    return bake.freeze(db, name, request, answers, tokenizer, redact)


async def _answers(recipe: "Recipe", inputs: "list[Asked]", model: str, seed: int) -> "Answers":
    from assistant.cli.shot_options import NONE_SAID
    from assistant.cli.task_options import opened_task
    from finetune import bake

    said = {"model": model, "values": recipe.values, "sampling": {"seed": str(seed)}, "column": "input", "adapter": ""}
    async with opened_task(recipe.template, {**NONE_SAID, **said}) as task:
        with progress_bar() as progress:
            return await bake.answers(task, inputs, progress)


def _say_reached(found: "Reached") -> None:
    gap, choices = found.gap, found.choices
    rows = [
        ["base", f"{gap.base:.3f}", f"{choices.base:.0%}"],
        ["trained, without the template", f"{gap.adapted:.3f}", f"{choices.adapted:.0%}"],
        ["base with the template", f"{gap.prompted:.3f}", "100%"],
    ]
    print_table(rows, ["", "nats per token", "same choice"])
    click.echo(
        f"Of {counted(gap.items, 'held-out example')}. Same choice: of the likeliest next token, place by place."
    )
    if found.too_long:
        click.echo(f"{found.too_long:,} more don't fit the context with the template before them.")
    if gap.closed is None:
        click.echo("The template makes these replies no likelier for sure: there is no gap to close.")
    else:
        click.echo(f"Closed: {gap.closed:.0%} of the gap (95 %: {gap.low:.0%} to {gap.high:.0%}).")
    click.echo(f"Left: {gap.remaining:+.3f} nats per token ({gap.remaining_low:+.3f} to {gap.remaining_high:+.3f}).")
    if gap.remaining_high < 0:
        click.echo("Below 0: it is surer of such replies than the template alone makes the base.")
    if not gap.is_sure:
        click.echo(f"Only {counted(gap.groups, 'input')} held out: too few to be sure. Bake with more inputs.")
