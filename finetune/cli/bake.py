"""`finetune bake`: train a model to reply as with a template, and measure how much of that it learned."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.log_redact import words_option
from assistant.cli.options import model_name, pairs, progress_bar
from assistant.cli.output import counted, print_table
from finetune.cli.data import replay_file, replay_options, tell
from finetune.cli.progress_output import events
from finetune.cli.train import settings
from finetune.config import TrainConfig

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.paths import Paths
    from assistant.store.redaction.redactor import Redactor
    from assistant.store.training.datasets import Dataset
    from assistant.store.training.runs import Run
    from finetune.bake import Answers, Asked, Reached, Recipe
    from finetune.data.dataset import Request


@click.command()
@click.argument("template")
@click.option(
    "--data", "file", type=click.Path(path_type=Path), help="A .jsonl, .csv or .txt file of inputs, instead of the log."
)
@click.option("--column", default="input", show_default=True, help="Column with the input.")
@click.option("--name", "-n", default="", help="Name of the dataset, from which the run gets its name.")
@click.option("-v", "--value", "values", multiple=True, callback=pairs, help="Value of a template input: name=value.")
@click.option("--resume", "resume_run", default="", help="Resume this run, or measure a finished run again.")
@replay_options
@click.option("--keep-personal", is_flag=True, help="Keep personal data instead of replacing it by placeholders.")
@words_option
@click.option("-m", "--model", default="", help="Model to train; default: the model of new conversations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each event, then the result.")
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

    The base answers each input with the template, which must be of kind chat or text. Inputs come from a file, or are
    the first messages of the log's conversations. The bare inputs and the replies are frozen as a dataset and trained
    on. The result is how much of the gap between the base without and with the template is closed on held-out replies.
    Running the command again trains again on the same replies.
    """
    if bool(name) == bool(resume_run):
        raise click.UsageError("Give --name NAME to begin, or --resume RUN to resume a run.")
    from assistant import settings as user_settings
    from assistant.cli.log_redact import redactor
    from assistant.cli.opened_log import opened_log
    from assistant.cli.task_options import find_template
    from assistant.paths import Paths

    config = TrainConfig(**given)
    paths = Paths.from_environment().create()
    with opened_log() as db:
        from finetune import bake

        recipe = bake.Recipe(find_template(template), values)
        bake.refuse_training(paths, config)
        told: dict[str, Any] = {}
        if resume_run:
            done = _resumed(db, paths, resume_run, as_json=as_json)
        else:
            asked = model_name(db, paths, user_settings.load(paths.config_file), model)
            redact = None if keep_personal else redactor(db, words)
            request = bake.request_of(recipe, file, asked, config.seed, replay_file(replay), text_share)
            of = _dataset(db, paths, name, recipe, request, column, redact)
            told = {one: of.statistics[one] for one in ("examples", "left_out", "personal_places", "replayed")}
            if not as_json:
                tell(of.statistics)
            done = _trained(db, paths, name, asked, config, as_json=as_json)
        told |= {"run": done.name, "state": done.state, "adapter_hash": done.adapter_hash}
        if done.state == "finished":
            found = bake.reached(db, paths, done.name, recipe, seed=config.seed)
            told |= found.as_json()
            if not as_json:
                _say_reached(found)
        elif not as_json:
            click.echo(f"To resume it and measure the result: finetune bake {template} --resume {done.name}")
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))


def _resumed(db: "Database", paths: "Paths", name: str, *, as_json: bool) -> "Run":
    """The run, resumed unless it is finished."""
    from assistant.store.training import runs
    from finetune.train import run

    done = runs.get(db, name)
    return done if done.state == "finished" else run.resume(db, paths, name, events(as_json))


def _trained(db: "Database", paths: "Paths", dataset: str, model: str, config: TrainConfig, *, as_json: bool) -> "Run":
    """A new run on the dataset of replies."""
    from finetune.train import run

    done = run.begin(db, paths, dataset, model, config, events(as_json))
    assert done is not None  # None is for --plan only
    return done


def _dataset(
    db: "Database",
    paths: "Paths",
    name: str,
    recipe: "Recipe",
    request: "Request",
    column: str,
    redact: "Redactor | None",
) -> "Dataset":
    """The dataset of replies; an existing dataset of this name is used again."""
    from finetune import bake
    from finetune.base import opened_base

    if there := bake.existing_dataset(db, name, recipe, request):
        click.echo(f"Using the existing replies of {name}.", err=True)
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
        f"On {counted(gap.items, 'held-out example')}. Same choice: share of positions with the same likeliest token."
    )
    if found.too_long:
        click.echo(f"{found.too_long:,} more don't fit the context together with the template.")
    if gap.closed is None:
        click.echo("The template doesn't make these replies likelier with certainty: there is no gap to close.")
    else:
        click.echo(f"Closed: {gap.closed:.0%} of the gap (95 %: {gap.low:.0%} to {gap.high:.0%}).")
    click.echo(f"Left: {gap.remaining:+.3f} nats per token ({gap.remaining_low:+.3f} to {gap.remaining_high:+.3f}).")
    if gap.remaining_high < 0:
        click.echo("Below 0: the trained model finds such replies likelier than the base with the template.")
    if not gap.is_sure:
        click.echo(f"Only {counted(gap.groups, 'input')} held out, too few to be certain. Bake with more inputs.")
