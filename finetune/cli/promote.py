"""`finetune promote`: use an adapter for new replies."""

import json

import click


@click.command()
@click.argument("run")
@click.option("--anyway", is_flag=True, help="Overrule objections; the log stores them.")
@click.option(
    "--forgetting",
    default=0.01,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Largest rise of the perplexity on general text: 0.01 is 1 %.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a line for each step, then the result.")
def command(run: str, anyway: bool, forgetting: float, as_json: bool) -> None:
    """Use the adapter of a run for new replies of its model, if `finetune eval` has proved it.

    Refused if the 95 % interval doesn't show an improvement, if it forgets too much, if it leaks training data, and if
    its files are not those that were evaluated.
    """
    from assistant.cli.opened_log import opened_log
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    with opened_log() as db:
        from finetune.cli.progress_output import events
        from finetune.prove import promote

        done = promote.promote(db, paths, run, anyway=anyway, forgetting_limit=forgetting, say=events(as_json))
    if as_json:
        told = {"model": done.adapter.model, "adapter": done.adapter.name, "adapter_hash": done.adapter.hash}
        click.echo(json.dumps({**told, "anyway": bool(done.reasons), "reasons": done.reasons}, ensure_ascii=False))
        return
    for reason in done.reasons:
        click.echo(f"Overruled: {reason}")
    click.echo(f"{done.adapter.model} now replies with {done.adapter.name}. `finetune rollback` undoes it.")
