"""`finetune status`: what the model hasn't learned from yet, and whether to train again."""

import json
import os
from shlex import quote
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.paths import Paths
    from assistant.store.training.runs import Run
    from finetune.watch.status import Status


@click.command()
@click.argument("model", default="")
@click.option("--no-drift", is_flag=True, help="Leave out what needs the model: seconds instead of a minute.")
@click.option("--train-when-idle", is_flag=True, help="Then train on what is new, while nobody uses the machine.")
@click.option("--budget", default=10.0, show_default=True, type=click.FloatRange(min=0, min_open=True),
              help="Minutes that it may train, pauses not counted.")  # fmt: skip
@click.option(
    "--idle-after",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Minutes without anybody.",
)
@click.option("--seed", default=0, show_default=True, help="Of the intervals.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on a line.")
def command(
    model: str, no_drift: bool, train_when_idle: bool, budget: float, idle_after: float, seed: int, as_json: bool
) -> None:
    """Tell what is curated in the log that the adapter in use hasn't learned from, and whether to train again.

    Drift is its loss on new conversations beside that on its frozen test part. Shift is whether these use other words,
    or are about other topics. Both come with what chance alone would make of so few.

    With --train-when-idle a training begins once no key was pressed in a terminal, no reply made, and no other program
    at work for some minutes. It pauses when there is one, such as a key pressed here, and goes on after as many minutes
    without; Ctrl-C stops it at a checkpoint. Nothing is promoted.
    """
    from assistant import settings
    from assistant.cli.log_redact import redactor
    from assistant.cli.opened_log import opened_log
    from assistant.cli.options import model_name
    from assistant.cli.task_options import find_template
    from assistant.paths import Paths
    from assistant.server.process import SPIN_COUNT

    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    paths = Paths.from_environment().create()
    with opened_log() as db:
        name = model_name(db, paths, settings.load(paths.config_file), model)
        options = f" -m {quote(name)}" if model else ""
        from finetune.watch.status import status

        told = status(
            db,
            paths,
            name,
            find_template,
            lambda: redactor(db, ()),
            with_drift=not no_drift,
            options=options,
            seed=seed,
            say=lambda text: None if as_json else click.echo(f"… {text}", err=True),
        )
        if not as_json:
            from finetune.cli.status_table import show

            show(told)
        trained = _train(db, paths, told, budget, idle_after, as_json=as_json) if train_when_idle else None
    if as_json:
        more = {"run": trained.name if trained else ""} if train_when_idle else {}
        click.echo(json.dumps({**told.as_json(), **more}, ensure_ascii=False))


def _train(
    db: "Database", paths: "Paths", told: "Status", budget: float, idle_after: float, *, as_json: bool
) -> "Run | None":
    from assistant.cli.log_redact import redactor
    from assistant.cli.task_options import find_template
    from finetune.cli.events import events

    if not told.next_dataset:
        return None
    from finetune.watch.when_idle import Wanted, train_when_idle

    return train_when_idle(
        db,
        paths,
        Wanted(told.model, told.next_dataset, told.dataset, budget, idle_after),
        find_template,
        lambda: redactor(db, ()),
        lambda text: click.echo(text, err=as_json),
        events(as_json),
    )
