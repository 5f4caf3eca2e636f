"""`finetune promote`: use an adapter for new replies from now on."""

import json

import click


@click.command()
@click.argument("run")
@click.option("--anyway", is_flag=True, help="Even where something speaks against it; the log keeps what.")
@click.option(
    "--forgetting",
    default=0.01,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How much the perplexity of general text may rise: 0.01 is 1 %.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each step, then the result.")
def command(run: str, anyway: bool, forgetting: float, as_json: bool) -> None:
    """Use the adapter of a run for new replies of its model, if `finetune eval` has proved it.

    Refused where the 95 % interval doesn't exclude that it is no better, where it forgets too much, where it gives
    away what it should not, and where its files are not what was evaluated.
    """
    from assistant.cli.opened_log import opened_log
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    with opened_log() as db:
        from finetune.cli.events import events
        from finetune.prove import promote

        done = promote.promote(db, paths, run, anyway=anyway, forgetting_limit=forgetting, say=events(as_json))
    if as_json:
        told = {"model": done.adapter.model, "adapter": done.adapter.name, "adapter_hash": done.adapter.hash}
        click.echo(json.dumps({**told, "anyway": bool(done.reasons), "reasons": done.reasons}, ensure_ascii=False))
        return
    for reason in done.reasons:
        click.echo(f"Overruled: {reason}")
    click.echo(f"New replies of {done.adapter.model} are made with {done.adapter.name}. `finetune rollback` undoes it.")
