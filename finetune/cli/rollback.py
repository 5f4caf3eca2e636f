"""`finetune rollback`: use what was in use before the last promotion."""

import json

import click


@click.command()
@click.option("-m", "--model", default="", help="Whose adapter; the model of new conversations where none is given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str, as_json: bool) -> None:
    """Take the last promotion back: new replies are made with what was in use before it, in the end the base alone."""
    from assistant import settings
    from assistant.adapters.folder import trouble
    from assistant.cli.opened_log import opened_log
    from assistant.cli.options import model_name
    from assistant.paths import Paths
    from assistant.store.training import adapters

    paths = Paths.from_environment().create()
    with opened_log() as db:
        name = model_name(db, paths, settings.load(paths.config_file), model)
        now = adapters.roll_back(db, name)
        wrong = trouble(paths.adapters / now.name, now.hash) if now is not None else ""
    if as_json:
        told = {"adapter": now.name if now else "", "adapter_hash": now.hash if now else ""}
        click.echo(json.dumps({"model": name, **told, "trouble": wrong}, ensure_ascii=False))
        return
    click.echo(f"New replies of {name} are made with {now.name if now else 'the base alone'}.")
    if wrong:
        click.echo(f"They can't be: {wrong} Or roll back once more.", err=True)
