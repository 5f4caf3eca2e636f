"""`finetune rollback`: undo the last promotion."""

import json

import click


@click.command()
@click.option("-m", "--model", default="", help="Model to roll back; default: the model of new conversations.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str, as_json: bool) -> None:
    """Undo the last promotion: new replies use the adapter before it, or at the end the base alone."""
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
    click.echo(f"{name} now replies with {now.name if now else 'the base alone'}.")
    if wrong:
        click.echo(f"But it can't: {wrong} Or roll back once more.", err=True)
