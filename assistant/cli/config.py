"""`assistant config`: where files lie and what can be set."""

import dataclasses
from typing import Any

import click

from assistant import settings
from assistant.cli.field_docs import meanings
from assistant.cli.output import as_json, print_json
from assistant.paths import Paths


@click.command("config")
@as_json
def command(as_json: bool) -> None:
    """Show where files lie, and every setting with its value and meaning."""
    paths = Paths.from_environment()
    chosen = settings.load(paths.config_file)
    places = {"config": paths.config_file, "templates": paths.templates, "log": paths.database, "models": paths.models}
    rows = [*_rows(chosen, ""), *_rows(chosen.engine, "engine.")]
    if as_json:
        values = {key: _plain(value) for key, value, _ in rows}
        print_json({"files": {name: str(place) for name, place in places.items()}, "settings": values})
        return
    for name, place in places.items():
        click.echo(f"{name:<10} {place}{'' if place.exists() else '  (not there yet)'}")
    for key, value, meaning in rows:
        click.echo(f"\n{key} = {_plain(value)!r}\n    {meaning}")


def _rows(table: Any, prefix: str) -> list[tuple[str, Any, str]]:
    told = meanings(type(table))
    return [
        (prefix + f.name, getattr(table, f.name), told[f.name])
        for f in dataclasses.fields(table)
        if not dataclasses.is_dataclass(getattr(table, f.name))
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if not isinstance(value, str | int | float | bool) else value
