"""`finetune status`: what the model hasn't learned yet, and whether to train again."""

import json
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
@click.option("--no-drift", is_flag=True, help="Skip what needs the model: takes seconds instead of a minute.")
@click.option("--train-when-idle", is_flag=True, help="Then train on what is new, while the machine is idle.")
@click.option("--budget", default=10.0, show_default=True, type=click.FloatRange(min=0, min_open=True),
              help="Minutes of training, without pauses.")  # fmt: skip
@click.option(
    "--idle-after",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Minutes without activity after which the machine is idle.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed of the intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on the last line.")
def command(
    model: str, no_drift: bool, train_when_idle: bool, budget: float, idle_after: float, seed: int, as_json: bool
) -> None:
    """Show what is curated in the log but not learned by the adapter in use, and whether to train again.

    Drift compares the model's loss on new conversations with its loss on the frozen test part. Shift tells whether new
    conversations use other words or are about other topics. Both come with an interval or a comparison with chance.

    With --train-when-idle a training begins once no key was pressed in a terminal, no reply was generated and no other
    program was busy for some minutes. It pauses during activity, such as a key pressed here, and resumes when the
    machine is idle again; Ctrl-C stops it at a checkpoint. Nothing is promoted.
    """
    from assistant import settings
    from assistant.cli.log_redact import redactor
    from assistant.cli.opened_log import opened_log
    from assistant.cli.options import model_name
    from assistant.cli.task_options import find_template
    from assistant.paths import Paths

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
    from finetune.cli.progress_output import events

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
